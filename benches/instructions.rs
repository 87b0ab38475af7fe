//! Answers reviews under valgrind, which counts instructions and allocations (`benches/instructions.sh`). Without
//! arguments, it lists the cases. With the number of a case and a count, it answers that review count times. The script
//! subtracts the results of two counts, which removes the cost of the start.

#![allow(missing_docs, clippy::expect_used, clippy::semicolon_if_nothing_returned, unreachable_pub)]
#![allow(dead_code, reason = "both benchmarks share the corpus")]

mod corpus;

use std::hint::black_box;

use sidecar_injector::inject::Engine;
use sidecar_injector::inject::settings::{EntryPoint, Settings};

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (catalog, settings, cases) = (corpus::catalog(), Settings::default(), corpus::cases());
    let number = |text: Option<String>| text.and_then(|text| text.parse::<usize>().ok());
    let Some(case) = number(arguments.next()) else {
        for (index, case) in cases.iter().enumerate() {
            println!("{index} {} ({} bytes)", case.name, case.body.len());
        }
        return;
    };
    let engine = Engine::new(&catalog, &settings, EntryPoint::default());
    let body = &cases.get(case).expect("a case").body;
    for _ in 0..number(arguments.next()).unwrap_or(1) {
        black_box(engine.answer(black_box(body)).expect("an answer"));
    }
}

//! The time of the engine per review, and the time of the conventional way in the same run. Compare the two times of
//! one run, not the times of different runs.

#![allow(missing_docs, clippy::expect_used, clippy::semicolon_if_nothing_returned, unreachable_pub)]
#![allow(dead_code, reason = "both benchmarks share the corpus")]

mod corpus;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sidecar_injector::inject::Engine;
use sidecar_injector::inject::settings::{EntryPoint, Settings};

fn compare(criterion: &mut Criterion) {
    let (catalog, settings) = (corpus::catalog(), Settings::default());
    let engine = Engine::new(&catalog, &settings, EntryPoint::default());
    for case in corpus::cases() {
        let mut group = criterion.benchmark_group(format!("{} ({} bytes)", case.name, case.body.len()));
        group.bench_function("engine", |bench| {
            bench.iter(|| engine.answer(black_box(&case.body)).expect("an answer").body.len());
        });
        if !case.name.starts_with("skip") && case.name != "already injected" {
            group.bench_function("conventional", |bench| {
                bench.iter(|| corpus::answer_conventionally(black_box(&case.body)))
            });
        }
        group.finish();
    }
}

criterion_group!(benches, compare);
criterion_main!(benches);

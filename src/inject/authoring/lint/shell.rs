//! The commands of containers, and the quoting rules of POSIX shells.

use crate::inject::authoring::lint::containers::PROBES;
use crate::inject::authoring::lint::nodes::strings;
use crate::inject::document::Node;

/// The words of each command that a container runs: its own, and those of its probes and hooks.
pub(super) fn commands(container: &Node) -> Vec<Vec<(&Node, &str)>> {
    let mut own = strings(container, "command");
    own.extend(strings(container, "args"));
    let probes = PROBES.map(|probe| container.get(probe));
    let lifecycle = container.get("lifecycle");
    let hooks = ["postStart", "preStop"].map(|hook| lifecycle.and_then(|lifecycle| lifecycle.get(hook)));
    let handlers = probes.into_iter().chain(hooks).flatten();
    let others = handlers.filter_map(|handler| Some(strings(handler.get("exec")?, "command")));
    std::iter::once(own).chain(others).collect()
}

/// The script of `sh -c` or another shell in the words of a command, if there is one.
pub(super) fn script<'n>(words: &[(&'n Node, &'n str)]) -> Option<(&'n Node, &'n str)> {
    let is_shell =
        |word: &str| matches!(word.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash" | "ksh" | "mksh" | "zsh"));
    let shell = words.iter().position(|(_, word)| is_shell(word))?;
    let is_flag = |word: &str| word.starts_with('-') && !word.starts_with("--") && word.contains('c');
    let flag = words.iter().skip(shell).position(|(_, word)| is_flag(word))?;
    words.get(shell + flag + 1).copied()
}

/// The quoting at a place in a shell script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quote {
    None,
    Single,
    Double,
    Comment,
    /// After a backslash outside of quotes.
    Escaped,
}

impl Quote {
    /// The quoting at the end of `text`, if `self` is the quoting at its beginning. `before` is the character in front
    /// of the text.
    pub(super) fn after(mut self, text: &str, before: char) -> Self {
        let (mut before, mut escaped) = (before, false);
        for c in text.chars() {
            let begins_word = before.is_whitespace() || ";&|(".contains(before);
            self = match (self, c) {
                (Self::None, '\\') => Self::Escaped,
                (Self::None, '\'') => Self::Single,
                (Self::None, '"') => Self::Double,
                (Self::None, '#') if begins_word => Self::Comment,
                (Self::Double, '"') if !escaped => Self::None,
                (Self::Single, '\'') | (Self::Comment, '\n') | (Self::Escaped, _) => Self::None,
                (quote, _) => quote,
            };
            escaped = c == '\\' && !escaped && self == Self::Double;
            before = c;
        }
        self
    }
}

//! The order of one list of containers: the pod's own stay as they are, new ones join where their template says.
//! It knows names and places, not what containers are.

use std::sync::Arc;

use crate::inject::template::body::item::Item;
use crate::inject::template::words::Position;

/// A list in the making.
#[derive(Debug, Default)]
pub(crate) struct Arrangement<'r> {
    slots: Vec<Slot<'r>>,
}

/// One element of the list.
#[derive(Debug)]
pub(crate) enum Slot<'r> {
    /// An element of the pod, by name.
    Own(&'r str),
    /// A new one.
    New(Arc<Item>),
}

impl<'r> Arrangement<'r> {
    /// The list as the pod has it.
    pub(crate) fn of(own: impl Iterator<Item = &'r str>) -> Self {
        Self { slots: own.map(Slot::Own).collect() }
    }

    /// Puts `item` in its place. Of several that want the same place the earlier come first.
    pub(crate) fn insert(&mut self, item: Arc<Item>, position: &Position) {
        let at = match position {
            Position::First => self.behind_new(0),
            Position::Last => self.slots.len(),
            Position::Before(name) => self.find(name).unwrap_or(self.slots.len()),
            Position::After(name) => self.find(name).map_or(self.slots.len(), |at| self.behind_new(at + 1)),
        };
        self.slots.insert(at, Slot::New(item));
    }

    /// Whether a container of that name is in the list.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.slots.iter().position(|slot| slot.name() == name)
    }

    /// The place behind all new elements from `at` on.
    fn behind_new(&self, at: usize) -> usize {
        at + self.slots[at..].iter().take_while(|slot| matches!(slot, Slot::New(_))).count()
    }

    /// The new elements with the index that each is to be inserted at, in this order; `None` is the end.
    pub(crate) fn insertions(&self) -> impl Iterator<Item = (Option<usize>, &Item)> {
        let end = self.slots.iter().rposition(|slot| matches!(slot, Slot::Own(_))).map_or(0, |last| last + 1);
        self.slots.iter().enumerate().filter_map(move |(index, slot)| match slot {
            Slot::New(item) => Some(((index < end).then_some(index), item.as_ref())),
            Slot::Own(_) => None,
        })
    }

    /// Whether nothing is new.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.insertions().next().is_none()
    }

    /// The new element that stands before all of the pod's own, and the first of those.
    pub(crate) fn new_first(&self) -> Option<(&Arc<Item>, &'r str)> {
        let Some(Slot::New(item)) = self.slots.first() else { return None };
        let own = self.slots.iter().find_map(|slot| match slot {
            Slot::Own(name) => Some(*name),
            Slot::New(_) => None,
        });
        Some((item, own?))
    }
}

impl Slot<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Own(name) => name,
            Self::New(item) => &item.name,
        }
    }
}

//! The order of one list of containers. The pod's own containers keep their order; new ones are inserted at the
//! position that their template sets. This module depends only on names and positions.

use std::sync::Arc;

use crate::inject::template::body::item::Item;
use crate::inject::template::words::Position;

/// A list of containers with insertions.
#[derive(Debug, Default)]
pub(crate) struct Arrangement<'r> {
    slots: Vec<Slot<'r>>,
}

/// One element of the list.
#[derive(Debug)]
pub(crate) enum Slot<'r> {
    /// A container of the pod, by name.
    Own(&'r str),
    /// A new container.
    New(Arc<Item>),
}

impl<'r> Arrangement<'r> {
    /// The list of the pod, given its names in order.
    pub(crate) fn of(own: impl Iterator<Item = &'r str>) -> Self {
        Self { slots: own.map(Slot::Own).collect() }
    }

    /// Inserts `item` at `position`. Items with the same position keep the order of the calls.
    pub(crate) fn insert(&mut self, item: Arc<Item>, position: &Position) {
        let at = match position {
            Position::First => self.behind_new(0),
            Position::Last => self.slots.len(),
            Position::Before(name) => self.find(name).unwrap_or(self.slots.len()),
            Position::After(name) => self.find(name).map_or(self.slots.len(), |at| self.behind_new(at + 1)),
        };
        self.slots.insert(at, Slot::New(item));
    }

    /// Returns true if a container with this name is in the list.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.slots.iter().position(|slot| slot.name() == name)
    }

    /// The index after all new elements that follow each other from `at` on.
    fn behind_new(&self, at: usize) -> usize {
        at + self.slots[at..].iter().take_while(|slot| matches!(slot, Slot::New(_))).count()
    }

    /// The new elements, each with the index to insert it at, in this order. `None` is the end of the list.
    pub(crate) fn insertions(&self) -> impl Iterator<Item = (Option<usize>, &Item)> {
        let end = self.slots.iter().rposition(|slot| matches!(slot, Slot::Own(_))).map_or(0, |last| last + 1);
        self.slots.iter().enumerate().filter_map(move |(index, slot)| match slot {
            Slot::New(item) => Some(((index < end).then_some(index), item.as_ref())),
            Slot::Own(_) => None,
        })
    }

    /// Returns true if there are no new elements.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.insertions().next().is_none()
    }

    /// The first element, if it is new, and the name of the pod's first own element, if there is one.
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

//! The versions of the API servers of one cluster. During an upgrade they differ, and each request can reach another one.

use std::collections::VecDeque;

use crate::inject::cluster_version::ClusterVersion;

/// The versions that the last answers named.
#[derive(Debug, Default)]
pub(super) struct SeenVersions {
    recent: VecDeque<ClusterVersion>,
    lowest: Option<ClusterVersion>,
}

/// The number of answers that count: those of ten minutes, since the version is read every five seconds.
const RECENT: usize = 120;

impl SeenVersions {
    /// Adds the version that an answer named. Returns the lowest recent version, if it has changed.
    pub(super) fn add(&mut self, version: ClusterVersion) -> Option<ClusterVersion> {
        self.recent.push_back(version);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        let lowest = self.recent.iter().copied().min();
        let changed = lowest.filter(|_| lowest != self.lowest);
        self.lowest = lowest;
        changed
    }

    /// The lowest recent version: what it accepts, all accept. `None` before the first answer.
    pub(super) fn lowest(&self) -> Option<ClusterVersion> {
        self.lowest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_recent_version_counts() {
        let mut seen = SeenVersions::default();
        let mut add = |minor| seen.add(ClusterVersion { minor }).map(|version| version.minor);
        assert_eq!((add(35), add(34), add(35), add(34)), (Some(35), Some(34), None, None));
        // The last API server was upgraded.
        let changes: Vec<_> = (0..RECENT).map(|_| add(35)).collect();
        assert_eq!((changes[RECENT - 2], changes[RECENT - 1]), (None, Some(35)));
        assert_eq!(add(33), Some(33));
        assert_eq!(seen.lowest(), Some(ClusterVersion { minor: 33 }));
    }
}

//! The versions of the API servers of one cluster. During an upgrade they differ, and each request can reach another one.

use std::collections::VecDeque;

use crate::inject::cluster_version::ClusterVersion;

/// The versions that the last answers named.
#[derive(Debug, Default)]
pub(super) struct SeenVersions {
    recent: VecDeque<ClusterVersion>,
}

/// The number of answers that count: those of ten minutes, since the version is read every five seconds.
const RECENT: usize = 120;

impl SeenVersions {
    /// Adds the version that an answer named. Returns the lowest recent version: what it accepts, all accept.
    pub(super) fn add(&mut self, version: ClusterVersion) -> ClusterVersion {
        self.recent.push_back(version);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        self.recent.iter().copied().fold(version, ClusterVersion::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_recent_version_counts() {
        let mut seen = SeenVersions::default();
        let mut add = |minor| seen.add(ClusterVersion { minor }).minor;
        assert_eq!((add(34), add(35), add(34)), (34, 34, 34));
        // The last API server was upgraded.
        let lowest: Vec<u16> = (0..RECENT).map(|_| add(35)).collect();
        assert_eq!((lowest[RECENT - 2], lowest[RECENT - 1]), (34, 35));
        assert_eq!(add(33), 33);
    }
}

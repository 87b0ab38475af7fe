//! The version of a cluster, and the versions that are supported. The module does not know what a version changes.

use std::fmt;
use std::str::FromStr;

/// The version of a cluster: the minor version of Kubernetes 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterVersion {
    /// The minor version: 34 for Kubernetes 1.34.
    pub minor: u16,
}

/// The oldest version that is supported. What it has needs no check.
pub(crate) const OLDEST: ClusterVersion = ClusterVersion { minor: 30 };
/// The newest version for which the defaults of feature gates are known.
pub(crate) const NEWEST: ClusterVersion = ClusterVersion { minor: 37 };

impl FromStr for ClusterVersion {
    type Err = String;

    /// Parses `1.34`, `v1.34.2` or `1.34+`, as users and API servers write it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let digits = |part: &str| part.trim_end_matches('+').parse().ok();
        match (parts.next(), parts.next().and_then(digits)) {
            (Some("1"), Some(minor)) => Ok(Self { minor }),
            _ => Err("write the version of Kubernetes as 1.MINOR, such as 1.34".to_owned()),
        }
    }
}

impl fmt::Display for ClusterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_users_and_api_servers_write_them() {
        for text in ["1.34", "v1.34.2", "1.34+", "v1.34.1-eks-abc"] {
            assert_eq!(text.parse(), Ok(ClusterVersion { minor: 34 }), "{text}");
        }
        for text in ["", "34", "2.34", "1", "1.x", "latest"] {
            assert!(text.parse::<ClusterVersion>().is_err(), "{text}");
        }
    }
}

//! Reads and writes the Secret with the self-managed certificates.
//!
//! The `resourceVersion` of the Secret is the lock between replicas. This module does not know when certificates are
//! due.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::certs::issue::{CertificatePair, CertificateState};

/// The access to the Secret.
#[derive(Clone)]
pub(super) struct SecretStore {
    api: Api<Secret>,
    name: String,
}

/// The Secret as it was read. Writing needs it, to detect changes in between.
pub(super) struct StoredSecret {
    secret: Option<Secret>,
    /// The state in the Secret; `None` if it contains none.
    pub(super) state: Option<CertificateState>,
}

impl StoredSecret {
    /// Returns true if the Secret does not exist.
    pub(super) fn is_missing(&self) -> bool {
        self.secret.is_none()
    }
}

impl SecretStore {
    /// Returns the access to the Secret `namespace`/`name`. It does not send a request.
    pub(super) fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned() }
    }

    /// Returns the client and the name of the Secret, for a watch.
    pub(super) fn api(&self) -> (Api<Secret>, &str) {
        (self.api.clone(), &self.name)
    }

    /// Reads the Secret.
    pub(super) async fn read(&self) -> Result<StoredSecret, kube::Error> {
        let secret = self.api.get_opt(&self.name).await?;
        let state = secret.as_ref().and_then(|secret| state_of(secret.data.as_ref()?));
        Ok(StoredSecret { secret, state })
    }

    /// Writes a state if the Secret has not changed since it was read. Returns false if it has changed.
    pub(super) async fn write(&self, read: StoredSecret, state: &CertificateState) -> Result<bool, kube::Error> {
        let data = Some(data_of(state));
        let written = match read.secret {
            Some(secret) => {
                let secret = Secret { data, ..secret };
                self.api.replace(&self.name, &PostParams::default(), &secret).await
            }
            None => {
                let mut secret = Secret { data, ..Secret::default() };
                secret.metadata.name = Some(self.name.clone());
                self.api.create(&PostParams::default(), &secret).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            // Another replica was first. Its certificates are as good.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn data_of(state: &CertificateState) -> BTreeMap<String, ByteString> {
    let mut data = BTreeMap::new();
    let mut put = |key: &str, text: &str| drop(data.insert(key.to_owned(), ByteString(text.as_bytes().to_vec())));
    put("ca.crt", &state.authority.certificate);
    put("ca.key", &state.authority.key);
    put("tls.crt", &state.leaf.certificate);
    put("tls.key", &state.leaf.key);
    if let Some(next) = &state.next {
        put("next-ca.crt", &next.certificate);
        put("next-ca.key", &next.key);
    }
    if let Some(previous) = &state.previous {
        put("previous-ca.crt", previous);
    }
    data
}

/// Returns the state in the data of a Secret; `None` if a certificate is missing. A missing key is an empty text, which
/// [`CertificateState::is_usable`] rejects.
fn state_of(data: &BTreeMap<String, ByteString>) -> Option<CertificateState> {
    let get = |key: &str| Some(String::from_utf8_lossy(&data.get(key)?.0).into_owned());
    let pair = |certificate: &str, key: &str| {
        Some(CertificatePair { certificate: get(certificate)?, key: get(key).unwrap_or_default() })
    };
    Some(CertificateState {
        authority: pair("ca.crt", "ca.key")?,
        next: pair("next-ca.crt", "next-ca.key"),
        previous: get("previous-ca.crt"),
        leaf: pair("tls.crt", "tls.key")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_state_is_read_back() {
        let pair = |text: &str| CertificatePair { certificate: format!("{text}.crt"), key: format!("{text}.key") };
        let state = CertificateState { authority: pair("a"), next: None, previous: None, leaf: pair("l") };
        assert_eq!(state_of(&data_of(&state)), Some(state.clone()));
        let more = CertificateState { next: Some(pair("n")), previous: Some("p".to_owned()), ..state };
        assert_eq!(state_of(&data_of(&more)), Some(more));
        assert_eq!(state_of(&BTreeMap::new()), None, "an empty Secret, as it is installed");
    }
}

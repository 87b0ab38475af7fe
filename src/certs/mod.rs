//! Serving certificates: reading, issuing, renewing and serving them.
//!
//! [`x509`] reads certificates, [`issue`] makes them and decides the next step of a rotation, [`rotate`] carries the
//! steps out in a cluster, `serving` holds the certificate that handshakes use. This folder does not know about
//! admission reviews, templates or the HTTP server.

mod bundle;
mod error;
pub mod issue;
pub mod rotate;
mod serving;
mod store;
pub mod x509;

pub use error::CertificateError;
pub use issue::self_signed;
pub use serving::{Certificate, CurrentCertificate, server_config};

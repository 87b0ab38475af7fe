//! HTTP errors: the answers to requests that do not result in a review.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// An HTTP error: a status and one line of text.
#[derive(Debug)]
pub(super) struct HttpError {
    pub(super) status: StatusCode,
    why: String,
    /// True if the response asks the API server to retry. The API server retries within its timeout if `Retry-After` is
    /// an integer (client-go, `rest/with_retry.go`).
    retry: bool,
}

impl HttpError {
    /// Returns an error that the client does not retry.
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into(), retry: false }
    }

    /// Returns a 503 that asks the client to retry after a second.
    pub(super) fn retry(why: &str) -> Self {
        Self { retry: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, why) }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        tracing::debug!(status = self.status.as_u16(), why = self.why, "request rejected");
        let mut response = (self.status, format!("{}\n", self.why)).into_response();
        if self.retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

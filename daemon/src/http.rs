//! Answers in NSQ's form, arguments from the query string, and serving a router until shutdown; what stands in
//! front of the routes is in `http/front`. Routes belong to the daemons. TLS is in `http/serve`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

pub use front::finish;
pub use gate::{Gate, gate};
pub use requests::Requests;
pub use serve::{ClientCertificate, Encrypted, Listener, peer, serve};

pub mod debug;
mod front;
mod gate;
mod patience;
pub mod probe;
pub mod requests;
mod seats;
mod serve;
#[cfg(test)]
mod tests;

/// 200 `OK`, what most writing endpoints answer.
pub fn ok_text() -> Response {
    text("OK".to_owned())
}

/// 200 without a body or content type.
pub fn empty() -> Response {
    ([NSQ_CONTENT_TYPE], ()).into_response()
}

/// 200 with this text as it is.
pub fn text(text: String) -> Response {
    ([NSQ_CONTENT_TYPE, TEXT], text).into_response()
}

/// 200 with `value` as JSON; 500 INTERNAL_ERROR if it cannot be written as JSON.
pub fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([NSQ_CONTENT_TYPE, JSON], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot write an answer as JSON");
            self::error(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR")
        }
    }
}

/// `status` with the body `{"message":"CODE"}` that clients match on.
pub fn error(status: StatusCode, code: &str) -> Response {
    let body = serde_json::json!({ "message": code }).to_string();
    (status, [NSQ_CONTENT_TYPE, JSON], body).into_response()
}

/// Plain text without NSQ's header, for `/ping` and `/debug`.
pub fn plain(status: StatusCode, text: String) -> Response {
    (status, [TEXT], text).into_response()
}

/// 200 `OK` without NSQ's header: a healthy `/ping`.
pub fn pong() -> Response {
    plain(StatusCode::OK, "OK".to_owned())
}

/// An error answer on its way out of a route: small, unlike a `Response`, and turned into one by `?` or axum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status to answer with.
    pub status: StatusCode,
    /// The code clients match on.
    pub code: Cow<'static, str>,
}

impl Refusal {
    /// For any status.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code: code.into() }
    }

    /// 400: the client's arguments are at fault.
    pub fn bad_request(code: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code)
    }

    /// 404: what the arguments name does not exist.
    pub fn not_found(code: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        error(self.status, &self.code)
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        refusal.into_response()
    }
}

/// The query string's arguments, unescaped; of a repeated one the first counts. As an extractor it refuses a
/// broken escape with 400 INVALID_REQUEST. A form in the body is never read.
#[derive(Debug, Clone, Default)]
pub struct Args {
    values: BTreeMap<String, String>,
}

impl Args {
    /// Reads a query string as it stands in the URL.
    ///
    /// # Errors
    /// 400 INVALID_REQUEST for a broken escape or a semicolon.
    pub fn parse(query: &str) -> Result<Self, Refusal> {
        let mut values = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            // nsqd: Go refuses a semicolon, which some once took for a separator.
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let both = unescape(name).zip(unescape(value)).filter(|_| !pair.contains(';'));
            let Some((name, value)) = both else {
                return Err(Refusal::bad_request("INVALID_REQUEST"));
            };
            values.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        Ok(Self { values })
    }

    /// The argument, or 400 `MISSING_ARG_<NAME>`. Given but empty counts as given, as in nsqd.
    ///
    /// # Errors
    /// The answer to send.
    pub fn required(&self, name: &str) -> Result<&str, Refusal> {
        let missing = || Refusal::bad_request(format!("MISSING_ARG_{}", name.to_ascii_uppercase()));
        self.optional(name).ok_or_else(missing)
    }

    /// The argument, if given.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Args {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

const NSQ_CONTENT_TYPE: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-nsq-content-type"), HeaderValue::from_static("nsq; version=1.0"));
const TEXT: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
const JSON: (HeaderName, HeaderValue) =
    (CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));

/// `None` for a percent sign without two hex digits.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            _ => byte,
        });
    }
    // Bytes that are not UTF-8 turn into replacement characters, which no name may contain.
    Some(Cow::Owned(String::from_utf8_lossy(&out).into_owned()))
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

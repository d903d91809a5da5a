//! Errors of HTTP requests as they are kept. What of an error a guest cannot see is not kept.

use serde::{Deserialize, Serialize};
use wasmtime_wasi_http::Error;

/// An error, by the name that WASI has for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    code: String,
    number: Option<u64>,
    text: Option<String>,
}

/// Errors that are nothing but a name.
macro_rules! plain {
    ($($code:ident),* $(,)?) => {
        fn plain_code(error: &Error) -> Option<&'static str> {
            match error {
                $(Error::$code => Some(stringify!($code)),)*
                _ => None,
            }
        }

        fn plain_error(code: &str) -> Option<Error> {
            $(if code == stringify!($code) {
                return Some(Error::$code);
            })*
            None
        }

        #[cfg(test)]
        const PLAIN: &[&str] = &[$(stringify!($code)),*];
    };
}

plain!(
    DnsTimeout,
    DestinationNotFound,
    DestinationUnavailable,
    DestinationIpProhibited,
    DestinationIpUnroutable,
    ConnectionRefused,
    ConnectionTerminated,
    ConnectionTimeout,
    ConnectionReadTimeout,
    ConnectionWriteTimeout,
    ConnectionLimitReached,
    TlsProtocolError,
    TlsCertificateError,
    HttpRequestDenied,
    HttpRequestLengthRequired,
    HttpRequestMethodInvalid,
    HttpRequestUriInvalid,
    HttpRequestUriTooLong,
    HttpResponseIncomplete,
    HttpResponseTimeout,
    HttpUpgradeFailed,
    HttpProtocolError,
    LoopDetected,
    ConfigurationError,
);

impl Fault {
    fn new(code: &str, number: Option<u64>, text: Option<String>) -> Self {
        Self { code: code.to_owned(), number, text }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.code.len() + self.text.as_ref().map_or(0, String::len)
    }

    pub(super) const fn text_mut(&mut self) -> Option<&mut String> {
        self.text.as_mut()
    }
}

impl From<&Error> for Fault {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the enum is open")]
    fn from(error: &Error) -> Self {
        if let Some(code) = plain_code(error) {
            return Self::new(code, None, None);
        }
        match error {
            // What the host makes of these three for a guest, see `outbound::Hooks`.
            Error::Hyper(_) => Self::new("HttpProtocolError", None, None),
            Error::Connect(_) => Self::new("DestinationUnavailable", None, None),
            Error::Tls(_) => Self::new("TlsProtocolError", None, None),
            Error::HttpRequestBodySize(max) => Self::new("HttpRequestBodySize", *max, None),
            Error::HttpResponseBodySize(max) => Self::new("HttpResponseBodySize", *max, None),
            Error::HttpResponseHeaderSectionSize(max) => {
                Self::new("HttpResponseHeaderSectionSize", max.map(u64::from), None)
            }
            Error::DnsError { rcode, info_code } => Self::new("DnsError", info_code.map(u64::from), rcode.clone()),
            Error::InternalError(text) => Self::new("InternalError", None, text.clone()),
            other => Self::new("InternalError", None, Some(other.to_string())),
        }
    }
}

impl From<&Fault> for Error {
    fn from(fault: &Fault) -> Self {
        if let Some(error) = plain_error(&fault.code) {
            return error;
        }
        match fault.code.as_str() {
            "HttpRequestBodySize" => Self::HttpRequestBodySize(fault.number),
            "HttpResponseBodySize" => Self::HttpResponseBodySize(fault.number),
            "HttpResponseHeaderSectionSize" => {
                Self::HttpResponseHeaderSectionSize(fault.number.and_then(|max| u32::try_from(max).ok()))
            }
            "DnsError" => Self::DnsError {
                rcode: fault.text.clone(),
                info_code: fault.number.and_then(|code| u16::try_from(code).ok()),
            },
            _ => Self::InternalError(fault.text.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_sees_of_an_error_comes_back() {
        let mut all: Vec<Error> = PLAIN.iter().filter_map(|code| plain_error(code)).collect();
        assert_eq!(all.len(), PLAIN.len());
        all.extend([
            Error::HttpRequestBodySize(Some(7)),
            Error::HttpResponseBodySize(None),
            Error::HttpResponseHeaderSectionSize(Some(9)),
            Error::DnsError { rcode: Some("no such name".to_owned()), info_code: Some(3) },
            Error::InternalError(Some("why".to_owned())),
        ]);
        for error in all {
            let again = Error::from(&Fault::from(&error));
            assert_eq!(format!("{again:?}"), format!("{error:?}"));
        }
        let refused = Error::Connect(std::io::Error::other("x"));
        assert!(matches!(Error::from(&Fault::from(&refused)), Error::DestinationUnavailable));
    }
}

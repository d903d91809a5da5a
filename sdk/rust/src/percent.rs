//! Percent-encoding (RFC 3986, section 2).

use std::fmt::Write as _;

/// The text with everything but ASCII letters, digits and `-._~` written as `%` and two hexadecimal digits.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_reserved_nowhere_stays() {
        assert_eq!(encoded("aZ9-._~"), "aZ9-._~");
        assert_eq!(encoded("a b/ä:%"), "a%20b%2F%C3%A4%3A%25");
    }
}

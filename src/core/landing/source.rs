//! The identity of a file, independent of any signature in its URL.

use url::Url;

use crate::core::manifest::sha256_hex;

/// A hash of the file's URL without what changes when the link is refreshed: signatures and tokens.
pub fn identity(url: &Url) -> String {
    sha256_hex(without(url, |name| matches!(name, "token" | "access_token")).as_str().as_bytes())
}

/// A hash of the file's URL without its signature, but with parameters called tokens, since some
/// servers name the file by one.
pub fn identity_by_token(url: &Url) -> String {
    sha256_hex(without(url, |_| false).as_str().as_bytes())
}

/// The URL without its signature, and without the parameters whose name in lower case satisfies `tokens`.
fn without(url: &Url, tokens: impl Fn(&str) -> bool) -> Url {
    let mut bare = url.clone();
    bare.set_fragment(None);
    let pairs: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let has = |wanted: &str| pairs.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let (sas, signed) = (has("sig"), has("signature"));
    let lasting = pairs.iter().filter(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !passes(&name, sas, signed) && !tokens(&name)
    });
    let lasting: Vec<&(String, String)> = lasting.collect();
    bare.set_query(None);
    if !lasting.is_empty() {
        bare.query_pairs_mut().extend_pairs(lasting.iter().map(|(name, value)| (name, value)));
    }
    bare
}

/// Whether a parameter is part of a signature: AWS, Google, Azure (`sig` and its companions), CloudFront.
fn passes(name: &str, sas: bool, signed: bool) -> bool {
    name.starts_with("x-amz-")
        || name.starts_with("x-goog-")
        || sas
            && matches!(
                name,
                "sig"
                    | "se"
                    | "sp"
                    | "sv"
                    | "st"
                    | "spr"
                    | "sr"
                    | "srt"
                    | "ss"
                    | "sip"
                    | "skoid"
                    | "sktid"
                    | "skt"
                    | "ske"
                    | "sks"
                    | "skv"
            )
        || signed
            && matches!(
                name,
                "signature" | "expires" | "key-pair-id" | "policy" | "awsaccesskeyid" | "googleaccessid"
            )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_signature_makes_no_other_file() {
        let same =
            |one: &str, other: &str| identity(&one.parse().unwrap()) == identity(&other.parse().unwrap());
        for (one, other) in [
            ("https://x/f/1", "https://x/f/1#part"),
            ("https://x/f/1?X-Amz-Signature=a&X-Amz-Date=1", "https://x/f/1?X-Amz-Signature=b&X-Amz-Date=2"),
            ("https://x/f/1?sv=1&se=1&sig=a", "https://x/f/1?sv=1&se=2&sig=b"),
            (
                "https://x/f/1?Expires=1&Signature=a&Key-Pair-Id=k",
                "https://x/f/1?Expires=2&Signature=b&Key-Pair-Id=k",
            ),
            ("https://x/f?file=1&token=a", "https://x/f?token=b&file=1"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        assert!(!same("https://x/f?file=1&token=a", "https://x/f?file=2&token=a"));
        for (one, other) in [
            ("https://x/f/1", "https://x/f/2"),
            ("https://x/f?file=1", "https://x/f?file=2"),
            ("https://x/f?sp=1", "https://x/f?sp=2"),
            ("https://x/f/1", "https://y/f/1"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }
}

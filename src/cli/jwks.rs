//! Prints the public half of a private key, for registration at a FHIR server.

use std::io::Read as _;
use std::path::Path;

use serde_json::json;

use super::generate;
use crate::credentials::{SigningKey, USABLE_KEYS};
use crate::stop::Stop;

/// The most bytes that are read of a key file; no key is longer.
const LONGEST: u64 = 1024 * 1024;

/// Prints the JWKS for the private key in `file`, or on standard input if `file` is `-`.
pub fn jwks(file: &Path, key_id: Option<&str>) -> Result<(), Stop> {
    let (name, text) = if file == Path::new("-") {
        ("Standard input".to_owned(), read(std::io::stdin()))
    } else {
        (file.display().to_string(), std::fs::File::open(file).and_then(read))
    };
    let text = text.map_err(|error| Stop::because(format!("{name} cannot be read: {error}.")))?;
    let jwks = public(&text, key_id).map_err(|problem| {
        Stop::because(format!("{name} holds no private key for signing ({problem}): use {USABLE_KEYS}."))
    })?;
    generate::print(&jwks)
}

fn read(from: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

fn public(text: &str, key_id: Option<&str>) -> Result<String, crate::credentials::KeyProblem> {
    let key = SigningKey::parse(text)?.public_jwk(key_id);
    Ok(format!("{:#}\n", json!({ "keys": [key] })))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_set_holds_one_public_key_under_its_name() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let text = public(&key.serialize_pem(), Some("2026")).unwrap();
        let set: Value = serde_json::from_str(&text).unwrap();
        let members: Vec<&String> = set.pointer("/keys/0").unwrap().as_object().unwrap().keys().collect();
        assert_eq!(set.pointer("/keys/0/kid").unwrap(), "2026");
        assert_eq!((set.pointer("/keys/1"), members.len()), (None, 8));
        assert!(!members.iter().any(|name| *name == "d"), "{text}");
    }

    #[test]
    fn a_file_without_a_key_is_told_in_one_sentence_that_shows_nothing_of_it() {
        let stop = jwks(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/clippy.toml")), None).unwrap_err();
        let said = stop.to_string();
        assert!(
            said.contains("clippy.toml holds no private key for signing (it is neither PEM nor a JWK): use ")
        );
        assert!(!said.contains("allow"), "{said}");
        let stop = jwks(Path::new("/nowhere/key.pem"), None).unwrap_err();
        assert!(stop.to_string().starts_with("/nowhere/key.pem cannot be read: "), "{stop}");
    }
}

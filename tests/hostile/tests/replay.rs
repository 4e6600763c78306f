//! The corpora of the fuzzer, and changes of them, on a stable compiler.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;

use hostile::TARGETS;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut seeds: Vec<(String, Vec<u8>)> = files
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn what_servers_say() {
    for (name, target) in TARGETS {
        let seeds = corpus(name);
        assert!(seeds.len() >= 8, "{name} has {} seeds", seeds.len());
        for (_, seed) in seeds {
            target(&seed);
        }
    }
}

/// Cut, doubled, swapped with another seed, sprinkled with bytes that mean something somewhere.
fn changed(seeds: &[Vec<u8>], one: Index, other: Index, at: Index, len: Index, letters: &[u8]) -> Vec<u8> {
    let (one, other) = (one.get(seeds), other.get(seeds));
    let at = at.index(one.len() + 1);
    let (from, to) = (at.min(other.len()), len.index(other.len() + 1));
    let piece = if from <= to { &other[from..to] } else { &other[to..from] };
    [&one[..at], letters, piece, &one[at..]].concat()
}

#[test]
fn what_they_might_say() {
    let letters = proptest::sample::select(b"\"\\/%?&=#,;:@.{}[]0129aZ \n\t\xC3\xFF-$".to_vec());
    let letters = proptest::collection::vec(letters, 0..8);
    for (name, target) in TARGETS {
        let seeds: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, seed)| seed).collect();
        let input = (any::<Index>(), any::<Index>(), any::<Index>(), any::<Index>(), letters.clone());
        let config = ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() };
        let run = TestRunner::new(config).run(&input, |(one, other, at, len, letters)| {
            let data = changed(&seeds, one, other, at, len, &letters);
            target(&data);
            Ok(())
        });
        run.unwrap_or_else(|failure| panic!("{name}: {failure}"));
    }
}

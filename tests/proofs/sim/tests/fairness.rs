//! One server that does not answer and one that is slow cost the exports of a third nothing.
#![allow(missing_docs, clippy::panic)]

use sim::any::crowd;
use sim::run;

#[test]
fn in_a_crowd_the_exports_of_a_prompt_server_are_as_prompt_as_alone() {
    for seed in 0..40 {
        let outcome = run(crowd(seed), false);
        if let Some((law, text)) = outcome.broken {
            panic!("seed {seed} breaks {law}: {text}");
        }
    }
}

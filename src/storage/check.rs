//! Which files a check reads, for every store.

use std::collections::HashMap;

use crate::core::ledger::{Checked, VerifyPlan};

/// The size of each file of the plan; `None` for one that does not exist. `found` are keys and sizes of a listing.
pub(super) fn sizes(plan: &VerifyPlan, found: impl IntoIterator<Item = (String, u64)>) -> Vec<Option<u64>> {
    let mut sizes: HashMap<&str, Option<u64>> =
        plan.files.iter().map(|file| (file.blob.as_str(), None)).collect();
    for (key, size) in found {
        if let Some(known) = sizes.get_mut(key.as_str()) {
            *known = Some(size);
        }
    }
    plan.files.iter().map(|file| sizes.get(file.blob.as_str()).copied().flatten()).collect()
}

/// What the listing alone says about a file: an empty file has no lines.
pub(super) fn looked_at(size: Option<u64>) -> Checked {
    Checked { bytes: size, lines: size.filter(|size| *size == 0) }
}

/// The files to read with their index in the plan, in its order: each file whose bytes still fit.
pub(super) fn chosen(plan: &VerifyPlan, sizes: &[Option<u64>]) -> Vec<(usize, String, u64)> {
    let mut left = plan.max_bytes;
    let mut chosen = Vec::new();
    for (index, (file, size)) in plan.files.iter().zip(sizes).enumerate() {
        let Some(size) = size.filter(|size| *size > 0) else { continue };
        if let Some(rest) = left.checked_sub(size) {
            left = rest;
            chosen.push((index, file.blob.clone(), size));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ledger::Expected;

    #[test]
    fn files_are_chosen_whole_and_in_order() {
        let chosen = |max_bytes, sizes: &[Option<u64>]| -> Vec<usize> {
            let files = sizes.iter().map(|_| Expected { blob: "f".into(), count: None }).collect();
            let plan = VerifyPlan { container: "lake".into(), prefix: String::new(), files, max_bytes };
            super::chosen(&plan, sizes).into_iter().map(|(index, ..)| index).collect()
        };
        let sizes = [Some(5), None, Some(0), Some(7), Some(3), Some(2)];
        assert_eq!(chosen(u64::MAX, &sizes), [0, 3, 4, 5]);
        assert_eq!(chosen(10, &sizes), [0, 4, 5]);
        assert_eq!(chosen(4, &sizes), [4]);
        assert_eq!(chosen(1, &sizes), [0; 0]);
        assert_eq!(chosen(0, &sizes), [0; 0]);
    }
}

//! How a file is cut into parts: they grow, so that a file of any length that a store takes has few enough of them.

const MIB: u64 = 1 << 20;
/// The largest number of parts of an object (public documentation of S3, "Multipart upload limits").
const MAX_PARTS: u64 = 10_000;
/// The smallest part of an object in bytes, unless it is the last one (same place).
pub(super) const SMALLEST: usize = 5 << 20;
/// The sizes of the parts in bytes, before compression: each applies to as many parts as [`EACH`] says.
const SIZES: [u64; 5] = [8 * MIB, 32 * MIB, 128 * MIB, 512 * MIB, 2048 * MIB];
/// The number of parts of each size.
const EACH: u64 = MAX_PARTS / SIZES.len() as u64;

/// The size in bytes of the part that begins at `offset`, unless it is the last one. `None` if an object has no room
/// for a part there, or if no part begins there.
pub(super) fn part_size(offset: u64) -> Option<usize> {
    let mut left = offset;
    for size in SIZES {
        if left < EACH * size {
            return usize::try_from(size).ok().filter(|_| left.is_multiple_of(size));
        }
        left -= EACH * size;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest part of an object in bytes (public documentation of S3, "Multipart upload limits").
    const LARGEST: u64 = 5 << 30;

    #[test]
    fn parts_lie_side_by_side_and_hold_five_tebibytes() {
        let (mut offset, mut count) = (0, 0);
        while let Some(size) = part_size(offset) {
            let size = size as u64;
            assert!(size >= SMALLEST as u64 && size <= LARGEST && size.is_multiple_of(64), "{size}");
            offset += size;
            count += 1;
        }
        assert_eq!(count, MAX_PARTS);
        assert!(offset >= 5 << 40, "{offset}");
        assert_eq!((part_size(1), part_size(8 * MIB + 64)), (None, None));
    }
}

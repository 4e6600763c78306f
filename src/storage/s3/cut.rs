//! How a file is cut into parts. They grow, but only as far as the memory of the operator allows: a part is held whole.

const MIB: u64 = 1 << 20;
/// The largest number of parts of an object (public documentation of S3, "Multipart upload limits").
const MAX_PARTS: u64 = 10_000;
/// The smallest part of an object in bytes, unless it is the last one (same place).
pub(super) const SMALLEST: usize = 5 << 20;
/// The sizes of the parts in bytes, before compression: each applies to as many parts as [`EACH`] says. They make room
/// for 195 GiB in one file, as much as a blob of Azure has.
const SIZES: [u64; 4] = [8 * MIB, 16 * MIB, 24 * MIB, 32 * MIB];
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
    fn parts_lie_side_by_side_and_hold_195_gib() {
        let (mut offset, mut count) = (0, 0);
        while let Some(size) = part_size(offset) {
            let size = size as u64;
            assert!(size >= SMALLEST as u64 && size <= LARGEST && size.is_multiple_of(64), "{size}");
            offset += size;
            count += 1;
        }
        assert_eq!(count, MAX_PARTS);
        assert_eq!(offset, 200_000 * MIB, "195 GiB");
        assert_eq!(part_size(offset), None, "the file is too large");
        assert_eq!(part_size(20_000 * MIB), Some(16 << 20));
        assert_eq!((part_size(1), part_size(8 * MIB + 64)), (None, None));
    }
}

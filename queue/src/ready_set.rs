//! A set of small numbers that finds the next member in a circle quickly: which consumers may be offered a message.

/// Members are indices into the channel's consumers.
#[derive(Debug, Default)]
pub(crate) struct ReadySet {
    words: Vec<u64>,
    count: usize,
}

impl ReadySet {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(crate) fn insert(&mut self, index: u32) {
        let (word, bit) = place(index);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            self.count += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, index: u32) {
        let (word, bit) = place(index);
        if let Some(word) = self.words.get_mut(word) {
            self.count -= usize::from(*word & bit != 0);
            *word &= !bit;
        }
    }

    /// Become a copy of `other` without giving up the allocation.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.words.clear();
        self.words.extend_from_slice(&other.words);
        self.count = other.count;
    }

    /// The first member after `index`, going around; `index` itself comes last.
    #[inline]
    pub(crate) fn next_after(&self, index: u32) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        let from = index.wrapping_add(1);
        self.first_in(from, u32::MAX).or_else(|| self.first_in(0, from))
    }

    fn first_in(&self, from: u32, to: u32) -> Option<u32> {
        let (first, _) = place(from);
        for (at, word) in self.words.iter().enumerate().skip(first) {
            let mask = if at == first { u64::MAX << (from % 64) } else { u64::MAX };
            let left = word & mask;
            if left != 0 {
                let index = u32::try_from(at * 64).ok()? + left.trailing_zeros();
                return (index < to).then_some(index);
            }
        }
        None
    }
}

#[inline]
fn place(index: u32) -> (usize, u64) {
    (index as usize / 64, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_in_a_circle() {
        let mut set = ReadySet::default();
        for index in [3, 64, 200] {
            set.insert(index);
            set.insert(index);
        }
        assert_eq!(set.len(), 3);
        let walk = |from| set.next_after(from);
        assert_eq!([walk(3), walk(64), walk(200), walk(0), walk(5000)], [64, 200, 3, 3, 3].map(Some));
    }

    #[test]
    fn a_lone_member_follows_itself() {
        let mut set = ReadySet::default();
        set.insert(7);
        assert_eq!(set.next_after(7), Some(7));
        set.remove(7);
        set.remove(7);
        assert_eq!((set.len(), set.next_after(7)), (0, None));
    }

    #[test]
    fn a_copy_has_the_same_members() {
        let (mut set, mut copy) = (ReadySet::default(), ReadySet::default());
        copy.insert(900);
        set.insert(1);
        copy.copy_from(&set);
        assert_eq!((copy.len(), copy.next_after(1)), (1, Some(1)));
    }
}

//! What a target did with an input, as one number: which commands, which errors, in which order. Two inputs of the same
//! shape went the same way, as far as can be seen from outside; a new shape is worth keeping. It stands in for the
//! coverage that instrumentation would give.

/// A hash under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape(u64);

impl Default for Shape {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Shape {
    /// Something happened.
    pub fn add(&mut self, what: &str) {
        for byte in what.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// An error: its words without the numbers and names in it, which are endless.
    pub fn add_error(&mut self, text: &str) {
        let mut is_quoted = false;
        for word in text.split(' ').take(9) {
            is_quoted ^= word.matches(['"', '\'']).count() % 2 == 1;
            let is_plain = word.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_()/:".contains(&byte));
            if is_plain && !is_quoted {
                self.add(word);
            }
        }
    }

    /// How much of something there was: powers of two are told apart.
    pub fn add_amount(&mut self, amount: usize) {
        self.0 = (self.0 ^ u64::from(usize::BITS - amount.leading_zeros())).wrapping_mul(0x100_0000_01b3);
    }
}

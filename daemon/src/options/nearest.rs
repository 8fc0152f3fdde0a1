//! The name that was probably meant.

/// The one of `names` that is nearest to `name`, if it is near enough to be meant: one slip, and one more for every
/// three letters.
pub(super) fn nearest(name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    names
        .map(|known| (strsim::damerau_levenshtein(&known, name), known))
        .filter(|(distance, _)| *distance <= 1 + name.len() / 3)
        .min()
        .map(|(_, known)| known)
}

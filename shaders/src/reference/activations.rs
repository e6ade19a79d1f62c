//! Rows of activations as every product reads them.

/// One row of activations taken apart: element `i` is `code(i) · scale(i/32) · mantissa · 2^exponent`.
#[derive(Clone, Copy)]
pub(crate) struct Activations<'a> {
    /// Codes, four a word, eight words a group.
    pub words: &'a [u32],
    /// A scale a group.
    pub scales: &'a [u8],
    /// 16-bit mantissa of the row's scale.
    pub mantissa: u32,
    /// Exponent of the row's scale.
    pub exponent: i32,
}

impl<'a> Activations<'a> {
    /// `row` is laid out as [`crate::act_stride`] says.
    #[inline]
    pub fn new(row: &'a [u32], groups: usize) -> Self {
        let tail = groups * 8 + groups.div_ceil(4);
        let scales: &[u8] = bytemuck::cast_slice(&row[groups * 8..tail]);
        Self {
            words: &row[..groups * 8],
            scales: &scales[..groups],
            mantissa: row[tail],
            exponent: row[tail + 1] as i32,
        }
    }

    /// The 32 codes of group `g`.
    #[inline(always)]
    pub fn codes(&self, g: usize) -> &'a [i8] {
        bytemuck::cast_slice(&self.words[g * 8..g * 8 + 8])
    }
}

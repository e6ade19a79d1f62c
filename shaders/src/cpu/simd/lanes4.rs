//! Decoding into 128-bit vectors, four rows each, in order: what the versions for ARM and WebAssembly share.

/// Expects in scope: `V`, `lowest` of [`super::kernel`], `load`, `words`, `splat`, and on bytes `bytes` (all the same), `look`
/// (an index below 16), `and`, `or`, `plus`,
/// `shr`, `shl`, `at_least` (all ones where it is); on 32-bit words `shl_words`, `even`, `odd` (words of two vectors)
/// and `transpose` (word `e` of four).
macro_rules! decode_lanes4 {
    ($features:literal) => {
        /// Levels 4q..4q + 4 of four rows.
        #[inline]
        #[target_feature(enable = $features)]
        fn decode<const CODES: usize>(cell: &[u8], part: usize, table: V) -> [V; 8] {
            let mask = bytes((CODES - 1).min(15) as u8);
            let level = |index: V| look(table, and(index, mask));
            let four = |at: usize, step: usize| {
                transpose([
                    load(cell, at),
                    load(cell, at + step),
                    load(cell, at + 2 * step),
                    load(cell, at + 3 * step),
                ])
            };
            match CODES {
                2 => {
                    let w = load(cell, part * 16);
                    let mut l = [w; 8];
                    for (q, l) in l.iter_mut().enumerate() {
                        *l = level(shr(w, q as u32));
                    }
                    l
                }
                3 => {
                    // Of each byte the digit, its level and the rest: digits go up by one where three times the byte
                    // passes 256 and 512.
                    let one = bytes(1);
                    let level = |v: V| {
                        let up = and(at_least(v, 86), one);
                        look(table, plus(up, and(at_least(v, 171), one)))
                    };
                    let rest = |v: V| plus(v, plus(v, v));
                    let mut w = load(cell, part * 16);
                    let mut l = [w; 8];
                    for l in &mut l[..5] {
                        *l = level(w);
                        w = rest(w);
                    }
                    let pair = |row: usize| {
                        let at = 128 + part * 8 + row * 2;
                        u32::from(u16::from_le_bytes([cell[at], cell[at + 1]]))
                    };
                    let half = |row: usize| {
                        let byte = u32::from(cell[192 + part * 2 + row / 2]);
                        (byte >> (4 * (row % 2)) & 15) << 20
                    };
                    let pairs = words([pair(0), pair(1), pair(2), pair(3)]);
                    let first = or(pairs, shl_words(rest(pairs), 16));
                    let second = rest(rest(first));
                    let low = and(rest(rest(second)), splat(0xffff));
                    let halves = words([half(0), half(1), half(2), half(3)]);
                    let high = or(halves, shl_words(rest(halves), 8));
                    l[5] = level(first);
                    l[6] = level(second);
                    l[7] = level(or(low, high));
                    l
                }
                4 | 8 => {
                    let (a, b) = (load(cell, part * 32), load(cell, part * 32 + 16));
                    let pair = [even(a, b), odd(a, b)];
                    let mut l = [a; 8];
                    if CODES == 4 {
                        for (e, w) in pair.into_iter().enumerate() {
                            for s in 0..4 {
                                l[2 * s + e] = level(shr(w, 2 * s as u32));
                            }
                        }
                        return l;
                    }
                    // Bit q of a row's byte j in the second plane is the high bit of level 4q + j.
                    let top = load(cell, 256 + part * 16);
                    let (low, high) = (bytes(0x33), bytes(0xcc));
                    let select = |a: V, b: V| or(and(a, low), and(b, high));
                    for (e, w) in pair.into_iter().enumerate() {
                        let top = shr(top, e as u32);
                        let first = select(w, shl(top, 2));
                        let second = select(shr(w, 2), top);
                        l[e] = level(first);
                        l[4 + e] = level(shr(first, 4));
                        l[2 + e] = level(second);
                        l[6 + e] = level(shr(second, 4));
                    }
                    l
                }
                16 => {
                    let w = four(part * 64, 16);
                    let mut l = [w[0]; 8];
                    for (q, w) in w.into_iter().enumerate() {
                        l[q] = level(w);
                        l[q + 4] = look(table, shr(w, 4));
                    }
                    l
                }
                32 | 64 => {
                    let w = four(part * 64, 16);
                    // The low bits of codes 4q..4q + 4, bit 3 downward.
                    let low = if CODES == 32 {
                        let p = load(cell, 512 + part * 16);
                        [
                            shl(p, 3),
                            shl(p, 2),
                            shl(p, 1),
                            p,
                            shr(p, 1),
                            shr(p, 2),
                            shr(p, 3),
                            shr(p, 4),
                        ]
                    } else {
                        let at = 512 + part * 32;
                        let (a, b) = (load(cell, at), load(cell, at + 16));
                        let (a, b) = (even(a, b), odd(a, b));
                        [
                            shl(a, 2),
                            shl(b, 2),
                            a,
                            b,
                            shr(a, 2),
                            shr(b, 2),
                            shr(a, 4),
                            shr(b, 4),
                        ]
                    };
                    let mask = bytes(if CODES == 32 { 8 } else { 12 });
                    let lowest = bytes(lowest(CODES, 0));
                    let join = |high: V, low: V| plus(or(high, and(low, mask)), lowest);
                    let mut l = [w[0]; 8];
                    for (q, w) in w.into_iter().enumerate() {
                        l[q] = join(shl(w, 4), low[q]);
                        l[q + 4] = join(and(w, bytes(0xf0)), low[q + 4]);
                    }
                    l
                }
                _ => {
                    let (a, b) = (four(part * 128, 32), four(part * 128 + 16, 32));
                    let mut l = [a[0]; 8];
                    l[..4].copy_from_slice(&a);
                    l[4..].copy_from_slice(&b);
                    l
                }
            }
        }
    };
}
pub(super) use decode_lanes4;

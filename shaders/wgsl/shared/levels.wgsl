// Codes of a group and their levels, four at a time. Definition: carat-format's unpack_group and a look-up.

// How many codes: 2, 3, 4, 8 or 16 of a table, 32 or 64 of levels at equal steps, or 256 where the code is the level.
override CODES: u32 = 16u;

// Words of the codes of a tile's group.
fn cell_words() -> u32 {
    switch CODES {
        case 2u: {
            return 32u;
        }
        case 3u: {
            return 52u;
        }
        case 4u: {
            return 64u;
        }
        case 8u: {
            return 96u;
        }
        case 16u: {
            return 128u;
        }
        case 32u: {
            return 160u;
        }
        case 64u: {
            return 192u;
        }
        default: {
            return 256u;
        }
    }
}

// A table of 16 bytes in algebraic normal form over xor: byte = xor of the coefficients whose index is a subset of the
// code's bits, where the byte's mask has them straight, or of what they are not, where it has them turned. Every
// coefficient is repeated in the four bytes of a word.
struct Table {
    c0: vec4<u32>,
    c1: vec4<u32>,
    c2: vec4<u32>,
    c3: vec4<u32>,
}

// The normal form of the low four bytes of a word, by the Moebius transform over two bits.
fn spread(word: u32) -> vec4<u32> {
    let b = vec4<u32>(word, word >> 8u, word >> 16u, word >> 24u) & vec4<u32>(255u);
    let x = b ^ vec4<u32>(0u, b.x, 0u, b.z);
    return (x ^ vec4<u32>(0u, 0u, x.x, x.y)) * 0x01010101u;
}

// The entries of a table in the order of codes whose bits are turned over.
fn turned(words: vec4<u32>) -> vec4<u32> {
    let halves = (words << vec4<u32>(16u)) | (words >> vec4<u32>(16u));
    let low = vec4<u32>(0x00ff00ffu);
    let bytes = ((halves & low) << vec4<u32>(8u)) | ((halves >> vec4<u32>(8u)) & low);
    if (CODES == 16u) {
        return bytes.wzyx;
    }
    if (CODES == 8u) {
        return bytes.yxwz;
    }
    if (CODES == 2u) {
        return bytes >> vec4<u32>(16u);
    }
    return bytes;
}

// The table of 16 bytes for masks that have the bits of `straight` straight and the others turned.
fn table_of(words: vec4<u32>, straight: u32) -> Table {
    let mixed = (words & vec4<u32>(straight)) | (turned(words) & vec4<u32>(~straight));
    let a = spread(mixed.x);
    let b = spread(mixed.y) ^ a;
    let c = spread(mixed.z);
    let d = spread(mixed.w) ^ c;
    return Table(a, b, a ^ c, b ^ d);
}

// The bits of bytes that `mask_of` has straight.
const STRAIGHT: u32 = 0x80808080u;

// In each byte bit `bit` of it, straight in bit 7 and turned in the others: 128 where it is set, else 127.
fn mask_of(codes: u32, bit: u32) -> u32 {
    return ((codes >> bit) & 0x01010101u) + 0x7f7f7f7fu;
}

fn terms(c: vec4<u32>, m0: u32, m1: u32) -> u32 {
    return (c.x ^ (m0 & c.y)) ^ (m1 & (c.z ^ (m0 & c.w)));
}

// A table's bytes for the masks of four bits.
fn normal_form(t: Table, m0: u32, m1: u32, m2: u32, m3: u32) -> u32 {
    let low = terms(t.c0, m0, m1) ^ (m2 & terms(t.c1, m0, m1));
    let high = terms(t.c2, m0, m1) ^ (m2 & terms(t.c3, m0, m1));
    return low ^ (m3 & high);
}

// Index of the scale of row 0 of a tile for group `g`: one scale serves 2^shift groups.
fn scale_cell(tile: u32, groups: u32, g: u32, shift: u32) -> u32 {
    return tile * ((groups + (1u << shift) - 1u) >> shift) + (g >> shift);
}

// The levels of the four codes in the low bits of each byte; where the codes fill their bits, others are ignored.
fn look_up(t: Table, codes: u32) -> u32 {
    let m0 = mask_of(codes, 0u);
    if (CODES == 2u) {
        return t.c0.x ^ (m0 & t.c0.y);
    }
    let m1 = mask_of(codes, 1u);
    if (CODES <= 4u) {
        return terms(t.c0, m0, m1);
    }
    let m2 = mask_of(codes, 2u);
    if (CODES == 8u) {
        return terms(t.c0, m0, m1) ^ (m2 & terms(t.c1, m0, m1));
    }
    return normal_form(t, m0, m1, m2, mask_of(codes, 3u));
}

// Of four bits a code, tables whose words repeat the low and the high halves of a table's bytes in eight nibbles: they
// look up eight codes at once. Of other encodings both are the table itself.
struct Halves {
    low: Table,
    high: Table,
}

fn low_halves(c: vec4<u32>) -> vec4<u32> {
    let half = c & vec4<u32>(0x0f0f0f0fu);
    return half | (half << vec4<u32>(4u));
}

fn high_halves(c: vec4<u32>) -> vec4<u32> {
    let half = c & vec4<u32>(0xf0f0f0f0u);
    return half | (half >> vec4<u32>(4u));
}

fn halves_of(words: vec4<u32>) -> Halves {
    if (CODES != 16u) {
        let t = table_of(words, STRAIGHT);
        return Halves(t, t);
    }
    let t = table_of(words, STRAIGHT_NIBBLES);
    let low = Table(low_halves(t.c0), low_halves(t.c1), low_halves(t.c2), low_halves(t.c3));
    let high = Table(high_halves(t.c0), high_halves(t.c1), high_halves(t.c2), high_halves(t.c3));
    return Halves(low, high);
}

// The bits of nibbles that `nibble_mask` has straight.
const STRAIGHT_NIBBLES: u32 = 0x88888888u;

// In each nibble bit `bit` of it, straight in bit 3 and turned in the others: 8 where it is set, else 7.
fn nibble_mask(codes: u32, bit: u32) -> u32 {
    return ((codes >> bit) & 0x11111111u) + 0x77777777u;
}

// The levels of a word's eight codes of four bits: of the low nibbles, of the high ones.
fn look_up8(t: Halves, codes: u32) -> vec2<u32> {
    let m0 = nibble_mask(codes, 0u);
    let m1 = nibble_mask(codes, 1u);
    let m2 = nibble_mask(codes, 2u);
    let m3 = nibble_mask(codes, 3u);
    let low = normal_form(t.low, m0, m1, m2, m3);
    let high = normal_form(t.high, m0, m1, m2, m3);
    return vec2<u32>(
        (low & 0x0f0f0f0fu) | ((high << 4u) & 0xf0f0f0f0u),
        ((low >> 4u) & 0x0f0f0f0fu) | (high & 0xf0f0f0f0u));
}

// The levels of codes of 5 or 6 bits: of each byte the high nibble is the high bits of one, and below them `low` has the
// rest from bit 3 down. So a byte is the level less the lowest, which lies half a step above -128: adding half a step carries
// into no other byte, and turning the highest bit takes 128 away.
fn stepped(high: vec4<u32>, low: vec4<u32>) -> vec4<u32> {
    let rest = select(0x0c0c0c0cu, 0x08080808u, CODES == 32u);
    let half = select(0x02020202u, 0x04040404u, CODES == 32u);
    let bytes = (high & vec4<u32>(0xf0f0f0f0u)) | (low & vec4<u32>(rest));
    return (bytes + vec4<u32>(half)) ^ vec4<u32>(0x80808080u);
}

// Four digits in base 3, and what is left: each byte is a fraction whose triple has its first digit above 8 bits.
struct Digits {
    codes: u32,
    rest: u32,
}

fn digits(fractions: u32) -> Digits {
    // Triples stay below 2^10, apart in halves of a word.
    let even = (fractions & 0x00ff00ffu) * 3u;
    let odd = ((fractions >> 8u) & 0x00ff00ffu) * 3u;
    let codes = ((even >> 8u) & 0x00030003u) | (odd & 0x03000300u);
    return Digits(codes, (even & 0x00ff00ffu) | ((odd & 0x00ff00ffu) << 8u));
}

// The rest of a row's ternary codes after those of its word, as fractions: the two bytes twice, the
// second time without their first digit; and the two codes of the half byte.
fn ternary_pairs(pair: u32) -> u32 {
    return (pair & 0xffffu) | (digits(pair & 0xffffu).rest << 16u);
}

fn ternary_last(pair: u32, half: u32) -> u32 {
    let fraction = (half & 15u) << 4u;
    return (pair & 0xffffu) | (fraction << 16u) | (((fraction * 3u) & 255u) << 24u);
}

// All bytes without their first two digits.
fn after_two(fractions: u32) -> u32 {
    return digits(digits(fractions).rest).rest;
}

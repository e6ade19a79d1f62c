//#import fixed
//#import dot
//#import levels
//#import tile
//#import residual
// A matrix part times activations: a workgroup has TILES tiles of 32 rows and ROWS rows of the batch, a lane four rows
// of each tile and every SLICES-th group. Sums are exact, so no split shows in the result.
// Grid: x = ceil(part_rows / (32·TILES)), y = ceil(rows / ROWS), z = 1 + ROWS·y - rows: those along z beyond the first
// have nothing to do.

// Tiles of a workgroup: 1 or 2.
override TILES: u32 = 1u;

@group(0) @binding(0) var<uniform> params: Params;
// [R][act_stride]: codes [groups·8] | scales [ceil(groups/4)] | mantissa | exponent; the stride is a
// multiple of four words
@group(0) @binding(1) var<storage, read> act: array<vec4<u32>>;
// One part of the matrix: codes | scales | row scales.
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
// [R][out_stride], the part's rows from row_start: the result, or the residual stream
@group(0) @binding(3) var<storage, read_write> h: array<i32>;
// saturations, largest magnitude
@group(0) @binding(4) var<storage, read_write> stats: array<atomic<u32>>;

fn quad(m: u32, i: u32) -> vec4<u32> {
    return weights[i];
}

// The complete sum of row n of the part, whose scale is given, with row `r` of the batch, row i of the workgroup's, rounded
// once and stored or added.
fn finish(n: u32, scale: u32, i: u32, r: u32, count: u32, u: Units, low: u32, high: i32) {
    if (n >= params.part_rows || r >= count) {
        return;
    }
    let unit = select(u.exponents[i], 0, params.mode == STORE_RELATIVE);
    let v = rounded(low, high, scale, u.mantissas[i], params.exponent - unit);
    let at = r * params.out_stride + params.row_start + n;
    if (params.mode == ACCUMULATE) {
        add_residual(at, v);
    } else {
        h[at] = v;
    }
}

fn finish_sums(s: Sums, n: u32, scales: vec4<u32>, i: u32, y: u32, count: u32, u: Units) {
    let r = y * ROWS + i;
    finish(n, scales.x, i, r, count, u, s.low.x, s.high.x);
    finish(n + 1u, scales.y, i, r, count, u, s.low.y, s.high.y);
    finish(n + 2u, scales.z, i, r, count, u, s.low.z, s.high.z);
    finish(n + 3u, scales.w, i, r, count, u, s.low.w, s.high.w);
}

// The products of a tile, complete in their lane.
fn finish_tile(p: Products, tile: u32, y: u32, lane: u32, count: u32, u: Units) {
    let n = tile * TILE_ROWS + lane * 4u;
    // The row scales start at a multiple of four words.
    let scales = quad(0u, (params.row_scales + n) >> 2u);
    finish_sums(p.s0, n, scales, 0u, y, count, u);
    if (ROWS > 1u) {
        finish_sums(p.s1, n, scales, 1u, y, count, u);
    }
    if (ROWS > 2u) {
        finish_sums(p.s2, n, scales, 2u, y, count, u);
        finish_sums(p.s3, n, scales, 3u, y, count, u);
    }
}

@compute @workgroup_size(8, SLICES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let count = batch_rows(group, workgroups);
    let rows = input_rows(group.y, count, params.act_stride);
    let lane = local.x;
    let groups = params.groups;
    let u = units(rows, groups);
    let end = select(groups, 0u, count == 0u);
    let shift = params.scale_shift;
    let tile = group.x * TILES;
    let table = halves_of(biased(params.table));
    let scales = params.scales + scale_cell(tile, groups, 0u, shift) * 8u + lane;
    let next_scales = scale_cell(1u, groups, 0u, shift) * 8u;
    if (PAIRS > 1u) {
        fill_pairs(params.table, 0u, local);
        workgroupBarrier();
    }
    var first = Products();
    var second = Products();
    for (var g = local.y; g < end; g += SLICES) {
        let x = inputs(rows, groups, g);
        let cell = tile * groups + g;
        let scale = scales + (g >> shift) * 8u;
        first = add_group(first, table, 0u, 0u, cell, scale, lane, x);
        if (TILES > 1u) {
            // Where the part has no such tile these are other words, or zeros, of which nothing is stored.
            second = add_group(second, table, 0u, 0u, cell + groups, scale + next_scales, lane, x);
        }
    }
    if (SLICES == 1u) {
        finish_tile(first, tile, group.y, lane, count, u);
        if (TILES > 1u) {
            finish_tile(second, tile + 1u, group.y, lane, count, u);
        }
        keep_statistics();
        return;
    }
    share_products(first, 0u, lane);
    if (TILES > 1u) {
        share_products(second, 1u, lane);
    }
    workgroupBarrier();
    for (var i = local.y * 8u + lane; i < TILES * ROWS * TILE_ROWS; i += 8u * SLICES) {
        let unit = i / TILE_ROWS;
        let n = (tile + unit / ROWS) * TILE_ROWS + i % TILE_ROWS;
        let j = unit % ROWS;
        let scale = word(0u, params.row_scales + n);
        finish(n, scale, j, group.y * ROWS + j, count, u, atomicLoad(&low_sum[i]), atomicLoad(&high_sum[i]));
    }
    keep_statistics();
}

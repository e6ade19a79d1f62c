//#import fixed
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

// The complete sum of row n of the part with row r of the batch, rounded once and stored or added.
fn finish(n: u32, r: u32, count: u32, low: u32, high: i32) {
    if (n >= params.part_rows || r >= count) {
        return;
    }
    let tail = r * params.act_stride + params.groups * 8u + (params.groups + 3u) / 4u;
    let unit = select(bitcast<i32>(act_word(tail + 1u)), 0, params.mode == STORE_RELATIVE);
    let v = rounded(low, high, word(0u, params.row_scales + n), act_word(tail), params.exponent - unit);
    let at = r * params.out_stride + params.row_start + n;
    if (params.mode == ACCUMULATE) {
        add_residual(at, v);
    } else {
        h[at] = v;
    }
}

fn finish_sums(s: Sums, n: u32, r: u32, count: u32) {
    for (var i = 0u; i < 4u; i++) {
        finish(n + i, r, count, s.low[i], s.high[i]);
    }
}

// The products of a tile, complete in their lane.
fn finish_tile(p: Products, tile: u32, y: u32, lane: u32, count: u32) {
    let n = tile * TILE_ROWS + lane * 4u;
    let r = y * ROWS;
    finish_sums(p.s0, n, r, count);
    if (ROWS > 1u) {
        finish_sums(p.s1, n, r + 1u, count);
    }
    if (ROWS > 2u) {
        finish_sums(p.s2, n, r + 2u, count);
        finish_sums(p.s3, n, r + 3u, count);
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
    let end = select(groups, 0u, count == 0u);
    let shift = params.scale_shift;
    let tile = group.x * TILES;
    let table = halves_of(params.table);
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
        finish_tile(first, tile, group.y, lane, count);
        if (TILES > 1u) {
            finish_tile(second, tile + 1u, group.y, lane, count);
        }
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
        finish(n, group.y * ROWS + unit % ROWS, count, atomicLoad(&low_sum[i]), atomicLoad(&high_sum[i]));
    }
}

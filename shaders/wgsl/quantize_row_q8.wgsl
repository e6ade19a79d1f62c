//#import lanes
//#import fixed
//#import quantize
//#import act
// i32 rows to activations: one workgroup a row. Grid: x = 1, y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][cols]
@group(0) @binding(1) var<storage, read> x: array<i32>;
// [R][act_stride]
@group(0) @binding(2) var<storage, read_write> act: array<u32>;

// Word where the workgroup's row starts.
var<private> row_start: u32;

fn value(i: u32) -> i32 {
    return x[row_start + i];
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    row_start = group.y * params.cols;
    quantize_row(lid, group.y * params.act_stride, params.cols, params.exponent);
}

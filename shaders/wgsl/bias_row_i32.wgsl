//#import fixed
//#import residual
// A bias added to every row: one invocation an element. Grid: x = ceil(cols / 64), y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [cols]
@group(0) @binding(1) var<storage, read> bias: array<i32>;
// [R][cols]
@group(0) @binding(2) var<storage, read_write> h: array<i32>;
// saturations, largest magnitude
@group(0) @binding(3) var<storage, read_write> stats: array<atomic<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.cols) {
        return;
    }
    let at = id.y * params.cols + id.x;
    let v = requant64(extend64(bias[id.x]), params.shift);
    if (params.residual == 1u) {
        add_residual(at, v);
        keep_statistics();
    } else {
        h[at] = sat32(add64(extend64(h[at]), extend64(v)));
    }
}

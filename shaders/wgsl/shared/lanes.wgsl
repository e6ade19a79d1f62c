// Lanes of a workgroup: a power of two.
override LANES: u32 = 64u;

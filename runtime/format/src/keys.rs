//! The metadata keys of a Carat file, each declared once. `SPEC.md` gives their meaning.
#![allow(missing_docs)]

pub const ARCHITECTURE: &str = "general.architecture";
pub const NAME: &str = "general.name";
/// The value of [`ARCHITECTURE`]: programs that only know other architectures refuse cleanly.
pub const CARAT: &str = "carat";
pub const VERSION: &str = "carat.version";
pub const REQUIRES: &str = "carat.requires";
pub const SOURCE_ARCHITECTURE: &str = "carat.source.architecture";

pub const VOCAB_SIZE: &str = "carat.vocab_size";
pub const CONTEXT_LENGTH: &str = "carat.context_length";
pub const EMBEDDING_LENGTH: &str = "carat.embedding_length";
pub const BLOCK_COUNT: &str = "carat.block_count";
/// Which kind each block has, an index into the lists of `carat.kinds`.
pub const BLOCK_KINDS: &str = "carat.block_kinds";
pub const EPSILON_MANTISSA: &str = "carat.norm.epsilon.mantissa";
pub const EPSILON_EXPONENT: &str = "carat.norm.epsilon.exponent";
pub const ROPE_PAIRS: &str = "carat.rope.pairs";
pub const ROPE_INCREMENTS: &str = "carat.rope.increments";
pub const LOGITS_SOFTCAP_MANTISSA: &str = "carat.logits.softcap.mantissa";
pub const LOGITS_SOFTCAP_EXPONENT: &str = "carat.logits.softcap.exponent";
pub const RESIDUAL_EXPONENT: &str = "carat.residual.exponent";
pub const POOLING: &str = "carat.pooling";
/// Changes of the weights that leave the model's function as it is, by the names of the converter's methods.
pub const FOLDED: &str = "carat.folded";
pub const EOS_TOKEN_IDS: &str = "carat.eos_token_ids";

pub const KIND_MIXER: &str = "carat.kinds.mixer";
pub const KIND_HEADS: &str = "carat.kinds.attention.head_count";
pub const KIND_KV_HEADS: &str = "carat.kinds.attention.head_count_kv";
pub const KIND_HEAD_DIM: &str = "carat.kinds.attention.key_length";
pub const KIND_WINDOW: &str = "carat.kinds.attention.window";
pub const KIND_ROPE: &str = "carat.kinds.attention.rope";
pub const KIND_SCALE_MANTISSA: &str = "carat.kinds.attention.scale.mantissa";
pub const KIND_SCALE_EXPONENT: &str = "carat.kinds.attention.scale.exponent";
pub const KIND_SOFTCAP_MANTISSA: &str = "carat.kinds.attention.softcap.mantissa";
pub const KIND_SOFTCAP_EXPONENT: &str = "carat.kinds.attention.softcap.exponent";
pub const KIND_BIAS: &str = "carat.kinds.attention.bias";
pub const KIND_OUTPUT_BIAS: &str = "carat.kinds.attention.output_bias";
pub const KIND_HEAD_NORM: &str = "carat.kinds.attention.head_norm";
pub const KIND_SUB_NORM: &str = "carat.kinds.attention.sub_norm";
pub const KIND_POST_NORM: &str = "carat.kinds.attention.post_norm";
pub const KIND_FEED_FORWARD: &str = "carat.kinds.feed_forward";
pub const KIND_WIDTH: &str = "carat.kinds.feed_forward.length";
pub const KIND_ACTIVATION: &str = "carat.kinds.feed_forward.activation";
pub const KIND_FFN_BIAS: &str = "carat.kinds.feed_forward.bias";
pub const KIND_FFN_SUB_NORM: &str = "carat.kinds.feed_forward.sub_norm";
pub const KIND_FFN_POST_NORM: &str = "carat.kinds.feed_forward.post_norm";

pub const TENSOR_ENCODING: &str = "carat.tensors.encoding";
pub const TENSOR_ROWS: &str = "carat.tensors.rows";
pub const TENSOR_COLS: &str = "carat.tensors.cols";
pub const TENSOR_GROUP: &str = "carat.tensors.group";
pub const TENSOR_EXPONENT: &str = "carat.tensors.exponent";
pub const TENSOR_TABLE: &str = "carat.tensors.table";
pub const TENSOR_POWER: &str = "carat.tensors.power";
pub const TENSOR_ERROR: &str = "carat.tensors.error";
pub const TENSOR_HASH: &str = "carat.tensors.blake3";
pub const SEGMENT_HASH: &str = "carat.segments.blake3";
pub const SEGMENT_BYTES: &str = "carat.segments.bytes";

pub const GOLDEN_PROMPT: &str = "carat.golden.prompt";
pub const GOLDEN_CHECKSUMS: &str = "carat.golden.checksums";

pub const CARD_TEXT: &str = "carat.card.text";
pub const CARD_TOKENS: &str = "carat.card.tokens";
pub const CARD_CTX: &str = "carat.card.ctx";
pub const CARD_PPL: &str = "carat.card.ppl";
pub const CARD_REFERENCE_PPL: &str = "carat.card.reference_ppl";
pub const CARD_KL_MEAN: &str = "carat.card.kl_mean";
pub const CARD_KL_MEDIAN: &str = "carat.card.kl_median";
pub const CARD_KL_P99: &str = "carat.card.kl_p99";
pub const CARD_KL_MAX: &str = "carat.card.kl_max";
pub const CARD_TOP1: &str = "carat.card.top1";

pub const TOKENIZER_JSON: &str = "tokenizer.huggingface.json";
pub const CHAT_TEMPLATE: &str = "tokenizer.chat_template";
/// Names of templates beside the default one; each lies under `tokenizer.chat_template.NAME`.
pub const CHAT_TEMPLATES: &str = "tokenizer.chat_templates";
/// Variables of chat templates that are special tokens' texts: their names, and the texts in the same order.
pub const TOKEN_VARIABLES: &str = "carat.tokenizer.variable_names";
pub const TOKEN_VARIABLE_TEXTS: &str = "carat.tokenizer.variable_texts";

/// Major and minor version of the format this crate reads and writes; a reader takes any minor of its
/// major. Major 0: the byte layout may still change between minors.
pub const FORMAT_VERSION: (u32, u32) = (0, 3);
/// Features a file may require of its reader, beyond what this version's keys say.
pub const FEATURES: &[&str] = &[FEATURE_NO_HEAD];
pub const FEATURE_NO_HEAD: &str = "head.none";
/// Value of [`TENSOR_ENCODING`] for a vector of i32 mantissas.
pub const VECTOR: &str = "i32";
/// Alignment of a Carat file's tensor data, in bytes.
pub const FILE_ALIGNMENT: u64 = 256;
/// Bytes of a segment that has a hash of its own.
pub const SEGMENT: u64 = 4 << 20;
/// Most tokens of a quality card.
pub const MAX_CARD_TOKENS: usize = 1 << 16;
/// Fewest tokens of a quality card's chunk: half of them are scored.
pub const MIN_CARD_CTX: u32 = 4;
/// Tokens of the golden prompt.
pub const GOLDEN_PROMPT_LEN: usize = 16;
/// Positions whose logits checksum the file carries.
pub const GOLDEN_POSITIONS: usize = 32;

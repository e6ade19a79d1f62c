package dev.carat

import dev.carat.internal.Adapter as NativeAdapter
import dev.carat.internal.LoadOptions as NativeLoadOptions
import dev.carat.internal.Sampling as NativeSampling
import dev.carat.internal.StreamOptions
import dev.carat.internal.defaultLoadOptions

/** A LoRA adapter: a directory that PEFT saved, or a GGUF file. [strength] is from -16 to 16; 1 is the adapter as it was trained. */
data class Adapter(val path: String, val strength: Double = 1.0)

/**
 * How a model is opened. What is null is Carat's choice.
 *
 * @property device `auto`, `cpu`, `gpu`, `gpu:` and an index, or `gpu:` and a part of a GPU's name. With `auto` the CPU answers at
 *   once, and a GPU goes on as soon as it is ready if it is faster.
 * @property context positions of the context.
 * @property memoryLimit most bytes of memory, weights included.
 * @property threads threads of the CPU.
 * @property keyBits bits of the keys that are kept of a text: 4 or 8.
 * @property valueBits bits of the values that are kept of a text: 4 or 8.
 * @property verify whether the file is compared with its hashes beside the first text.
 * @property map whether the file is mapped. Else it is copied into memory, and may change while it is open.
 * @property cacheDir the folder for models that are fetched. On Android: `context.filesDir`.
 */
data class LoadOptions(
    val device: String? = null,
    val context: Int? = null,
    val memoryLimit: Long? = null,
    val threads: Int? = null,
    val keyBits: Int? = null,
    val valueBits: Int? = null,
    val verify: Boolean? = null,
    val map: Boolean? = null,
    val adapters: List<Adapter> = emptyList(),
    val cacheDir: String? = null,
)

/**
 * How tokens are chosen. What is null is what the model's file recommends.
 *
 * @property greedy takes the most probable token at every step, with nothing against repetition.
 * @property temperature divides the logits before the draw; at least 0.
 * @property topK chooses among so many of the most probable tokens; 0 is all.
 * @property topP chooses among the most probable tokens that reach this probability together.
 * @property minP chooses among tokens at least so many times as probable as the most probable one.
 * @property repeatPenalty makes tokens of the last 64 less probable by this factor.
 * @property presencePenalty nats from the logit of every token that the generated text has.
 * @property frequencyPenalty nats from the logit of a token as often as the generated text has it.
 * @property seed where the draws begin, as 64 bits; 0 by default.
 * @property maxTokens most tokens of a text.
 * @property stops strings that end a text.
 */
data class Sampling(
    val greedy: Boolean = false,
    val temperature: Float? = null,
    val topK: Int? = null,
    val topP: Float? = null,
    val minP: Float? = null,
    val repeatPenalty: Float? = null,
    val presencePenalty: Float? = null,
    val frequencyPenalty: Float? = null,
    val seed: Long? = null,
    val maxTokens: Int? = null,
    val stops: List<String> = emptyList(),
)

/** Whether an answer calls tools. */
sealed interface ToolChoice {
    /** As the model likes. */
    data object Auto : ToolChoice

    /** Never. */
    data object Never : ToolChoice

    /** One at least. After the results the model is free. */
    data object Required : ToolChoice

    /** This one. After its result the model is free. */
    data class Named(val tool: String) : ToolChoice
}

/**
 * What holds for one text.
 *
 * @property sampling how its tokens are chosen; null: as the conversation says.
 * @property jsonSchema a JSON schema that the text follows.
 * @property grammar a grammar in llguidance's variant of Lark's syntax that the text follows. Only one of the two.
 * @property metrics reports what the model thinks of each token, with so many of the likeliest ones: [Piece.tokens].
 */
data class TextOptions(
    val sampling: Sampling? = null,
    val jsonSchema: String? = null,
    val grammar: String? = null,
    val toolChoice: ToolChoice = ToolChoice.Auto,
    val metrics: Int? = null,
)

private fun Int.unsigned(name: String): UInt {
    if (this < 0) throw parameter("$name is $this; expected at least 0")
    return toUInt()
}

private fun bits(name: String, bits: Int?): UByte? {
    if (bits != null && bits !in 0..255) throw parameter("$name is $bits; expected 4 or 8")
    return bits?.toUByte()
}

internal fun LoadOptions.native(): NativeLoadOptions {
    val standard = defaultLoadOptions()
    val limit = memoryLimit
    if (limit != null && limit < 0) throw parameter("memoryLimit is $limit; expected bytes, at least 0")
    return NativeLoadOptions(
        device = device ?: standard.device,
        context = context?.unsigned("context"),
        memoryLimit = limit?.toULong(),
        threads = threads?.unsigned("threads"),
        keyBits = bits("keyBits", keyBits),
        valueBits = bits("valueBits", valueBits),
        verify = verify ?: standard.verify,
        map = map ?: standard.map,
        adapters = adapters.map { NativeAdapter(it.path, it.strength) },
        cacheDir = cacheDir,
    )
}

internal fun Sampling.native() = NativeSampling(
    greedy = greedy,
    temperature = temperature,
    topK = topK?.unsigned("topK"),
    topP = topP,
    minP = minP,
    repeatPenalty = repeatPenalty,
    presencePenalty = presencePenalty,
    frequencyPenalty = frequencyPenalty,
    seed = seed?.toULong(),
    maxTokens = maxTokens?.unsigned("maxTokens"),
    stops = stops,
)

internal fun TextOptions.native() = StreamOptions(
    sampling = sampling?.native(),
    jsonSchema = jsonSchema,
    grammar = grammar,
    toolChoice = when (val choice = toolChoice) {
        ToolChoice.Auto -> "auto"
        ToolChoice.Never -> "none"
        ToolChoice.Required -> "required"
        is ToolChoice.Named -> choice.tool
    },
    metrics = metrics?.unsigned("metrics"),
)

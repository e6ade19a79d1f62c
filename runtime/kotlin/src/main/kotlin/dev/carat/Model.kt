package dev.carat

import dev.carat.internal.LoadProgress as NativeLoadProgress
import dev.carat.internal.NativeModel
import dev.carat.internal.loadModelAsync
import dev.carat.internal.nativeVersion
import java.util.concurrent.atomic.AtomicReference
import kotlin.coroutines.cancellation.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.withContext

/** What loading does. */
enum class LoadStage {
    /** Bytes come over the network. */
    DOWNLOAD,

    /** Bytes of the file are read into memory. */
    READ,

    /** Bytes of weights go to a GPU. */
    UPLOAD,

    /** Kernels are compiled for a GPU. */
    COMPILE,
}

/** Where loading stands. [total] is null where it is not known. */
data class LoadProgress(val stage: LoadStage, val done: Long, val total: Long?)

/**
 * A model that is open until [close]. Every thread may use it.
 *
 * Texts are computed on threads of the library; no function here computes on the thread that calls it, except where it says so.
 */
class Model private constructor(private val native: NativeModel) : AutoCloseable {
    companion object {
        /** The version of the library. */
        val version: String get() = nativeVersion()

        /**
         * Opens a model: a path, an address (`https://…/model.gguf`), or a hub's name (`hf:OWNER/NAME`). What is fetched is kept,
         * goes on where it was cut off, and is compared with its hashes. A job that is cancelled ends the loading.
         *
         * @param progress is called on a thread of the library.
         * @throws CaratException nothing is there, no Carat model, damaged, no such device, no memory; the network.
         */
        suspend fun load(
            source: String,
            options: LoadOptions = LoadOptions(),
            progress: ((LoadProgress) -> Unit)? = null,
        ): Model {
            // What ends the loading: the job's end, or what `progress` throws.
            val ended = AtomicReference<Throwable?>()
            val sink = object : NativeLoadProgress {
                override fun onProgress(stage: String, done: ULong, total: ULong): Boolean {
                    if (ended.get() != null) return false
                    val known = LoadStage.entries.find { it.name.equals(stage, ignoreCase = true) }
                    if (known == null || progress == null) return true
                    val at = LoadProgress(known, done.toLong(), total.toLong().takeIf { it != 0L })
                    val told = runCatching { progress(at) }
                    told.exceptionOrNull()?.let { ended.compareAndSet(null, it) }
                    return told.isSuccess
                }
            }
            try {
                return Model(checked { loadModelAsync(source, options.native(), sink) })
            } catch (e: CancellationException) {
                ended.compareAndSet(null, e)
                throw e
            } catch (e: CaratException) {
                throw ended.get() ?: e
            }
        }
    }

    /** What is known of the model. */
    val info: Info get() = checked { native.info() }

    /** Whether [close] was called. */
    val isClosed: Boolean get() = native.isShut()

    /** The tokens of a text. */
    fun tokenize(text: String): List<Int> = checked { native.tokenize(text) }.map { it.toInt() }

    /** The text of tokens. */
    fun detokenize(ids: List<Int>): String = checked { native.detokenize(ids.map { it.toUInt() }) }

    /** The meaning of a text as a vector of length 1. */
    suspend fun embed(text: String): FloatArray = checked { native.embedAsync(text) }.toFloatArray()

    /**
     * A text that goes on with a prompt. The flow is cold: each collection is a text. A collection that ends early ends the text.
     *
     * @param onEnd is told what is known of the text at its end.
     */
    fun generate(prompt: String, options: TextOptions = TextOptions(), onEnd: (Outcome) -> Unit = {}): Flow<Piece> =
        flow { pull({ native.generate(prompt, options.native()) }, onEnd) }

    /** [generate] to its end. */
    suspend fun complete(prompt: String, options: TextOptions = TextOptions()): Outcome {
        var last: Outcome? = null
        generate(prompt, options) { last = it }.collect()
        return last!!
    }

    /** A conversation with the model: `model.conversation { system = "Answer in one word." }`. */
    fun conversation(build: ConversationBuilder.() -> Unit = {}): Conversation {
        val made = ConversationBuilder().apply(build)
        return Conversation(checked { native.conversation(made.native()) }, made.tools, made.toolRounds)
    }

    /** A conversation that [Conversation.save] wrote. Tools have to be given again; what else `build` sets replaces what was saved. */
    suspend fun resume(path: String, build: ConversationBuilder.() -> Unit = {}): Conversation {
        val made = ConversationBuilder().apply(build)
        val native = withContext(Dispatchers.IO) { checked { native.resume(path, made.native()) } }
        return Conversation(native, made.tools, made.toolRounds)
    }

    /** Gives back what can be computed or read again: for `onTrimMemory`. Answers under way go on. */
    fun memoryWarning() = checked { native.memoryWarning() }

    /** Goes on with the CPU, with the same tokens: for `onStop`. When this returns no GPU works for the model. */
    fun enterBackground() = checked { native.enterBackground() }

    /** Makes a GPU ready again, as at loading: for `onStart`. */
    fun enterForeground() = checked { native.enterForeground() }

    /**
     * Cancels what is under way, waits for its threads, closes conversations and gives the memory back. May be called again, from
     * any thread; on the main thread it may wait for one step of the model.
     */
    override fun close() = native.shut()
}

package dev.carat

import dev.carat.internal.NativeStream
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.withContext

/** A piece of a text: whole characters, never empty. */
typealias Piece = dev.carat.internal.Piece

/** What a [Piece] is of. */
typealias PieceKind = dev.carat.internal.PieceKind

/** What is known of a text at its end. */
typealias Outcome = dev.carat.internal.Outcome

/** A call of a tool. */
typealias Call = dev.carat.internal.Call

/** What the model thought of a token: natural logarithms. */
typealias Token = dev.carat.internal.Token

/** One of the likeliest tokens. */
typealias Alternative = dev.carat.internal.Alternative

/** What is known of a model that is open. */
typealias Info = dev.carat.internal.Info

/** [Outcome.reason] of a text that was cancelled or closed. */
internal const val CANCELLED = "cancelled"

/**
 * Pulls a text to its end. Whatever ends it, its thread has ended when this returns or throws, and [onEnd] was told of what there
 * is of the text.
 */
internal suspend fun FlowCollector<Piece>.pull(start: () -> NativeStream, onEnd: (Outcome) -> Unit): Outcome {
    val stream = checked { start() }
    var outcome: Outcome? = null
    try {
        while (true) {
            emit(checked { stream.next() } ?: break)
        }
        outcome = checked { stream.outcome() }
    } finally {
        // The thread is waited for, which must not stop a thread that draws.
        withContext(NonCancellable + Dispatchers.IO) { stream.shut() }
        // An error of the text is thrown already.
        val ended = outcome ?: runCatching { stream.outcome() }.getOrNull()
        stream.close()
        ended?.let(onEnd)
    }
    val whole = outcome ?: throw closed()
    if (whole.reason == CANCELLED) throw closed()
    return whole
}

private fun closed() =
    CaratException(ErrorCode.ABORTED, "the text was ended, since its model or conversation was closed; what came of it is not whole")

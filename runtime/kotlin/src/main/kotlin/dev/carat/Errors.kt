package dev.carat

import dev.carat.internal.InternalException
import dev.carat.internal.NativeException

/** The kind of a [CaratException]. The names are those of the npm package. */
enum class ErrorCode(val id: String) {
    /** A model cannot be fetched. */
    NETWORK("network"),

    /** Bytes of a file do not have their hash. */
    HASH("hash"),

    /** A file is no Carat model, contradicts itself, or holds what this build cannot run. */
    FORMAT("format"),

    /** There is no such GPU, or it failed. */
    WEBGPU("webgpu"),

    /** The GPU was lost: a model that is opened again may have it back. */
    DEVICE_LOST("device-lost"),

    /** The work was cancelled, or the object is closed. */
    ABORTED("aborted"),

    /** The memory does not suffice, or the limit on it. */
    MEMORY("memory"),

    /** The tokens do not fit the context. */
    CONTEXT("context"),

    /** A parameter is out of its range, a schema cannot be used, or an object is none. */
    PARAMETER("parameter"),

    /** The chat template fails, or refuses the conversation. */
    TEMPLATE("template"),

    /** A file cannot be read or written. */
    STORAGE("storage"),

    /** All else. */
    INTERNAL("internal");

    companion object {
        /** Of a name; a name that is none is [INTERNAL]. */
        fun of(id: String): ErrorCode = entries.find { it.id == id } ?: INTERNAL
    }
}

/**
 * What went wrong.
 *
 * @property message one line: the state, the cause and the remedy.
 * @property found what was found, where it is about a value.
 * @property expected what was expected in its place.
 */
class CaratException(
    val code: ErrorCode,
    override val message: String,
    val found: String? = null,
    val expected: String? = null,
    cause: Throwable? = null,
) : Exception(message, cause)

/** Runs what calls the library; its errors become those of this package. */
internal inline fun <T> checked(act: () -> T): T =
    try {
        act()
    } catch (e: NativeException.Failed) {
        throw CaratException(ErrorCode.of(e.code), e.reason, e.found, e.expected)
    } catch (e: InternalException) {
        val line = "Carat failed within itself: ${e.message}; close the model, open it again, and report this"
        throw CaratException(ErrorCode.INTERNAL, line, cause = e)
    }

internal fun parameter(message: String) = CaratException(ErrorCode.PARAMETER, message)

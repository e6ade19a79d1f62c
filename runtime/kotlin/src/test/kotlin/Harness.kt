import dev.carat.CaratException
import dev.carat.ErrorCode
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.TimeoutCancellationException
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout

/** Runs tests one after the other, and counts them. */
class Harness {
    private var passed = 0
    private var failed = 0

    fun test(name: String, body: suspend CoroutineScope.() -> Unit) {
        val begun = System.nanoTime()
        val error = runCatching { runBlocking { withTimeout(120_000) { body() } } }.exceptionOrNull()
        val ms = (System.nanoTime() - begun) / 1_000_000
        if (error == null) {
            passed += 1
            println("ok    $name ($ms ms)")
            return
        }
        failed += 1
        println("FAIL  $name ($ms ms): $error")
        if (error !is TimeoutCancellationException) error.printStackTrace(System.out)
    }

    fun end(): Int {
        println("$passed passed, $failed failed")
        return if (failed == 0) 0 else 1
    }
}

fun <T> same(found: T, expected: T, what: String) {
    if (found != expected) throw AssertionError("$what: found $found, expected $expected")
}

fun holds(condition: Boolean, what: () -> String) {
    if (!condition) throw AssertionError(what())
}

/** What must fail with a code. */
suspend fun fails(code: ErrorCode, what: String, act: suspend () -> Unit): CaratException {
    try {
        act()
    } catch (e: CaratException) {
        same(e.code, code, "$what: '${e.message}'")
        holds(e.message.isNotBlank() && '\n' !in e.message) { "$what: no line: '${e.message}'" }
        return e
    }
    throw AssertionError("$what: nothing failed")
}

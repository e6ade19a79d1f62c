import dev.carat.CaratException
import dev.carat.ErrorCode
import dev.carat.Sampling
import java.util.Random
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.launch

/** Texts that end anywhere, by anybody. */
fun endings(all: Harness) {
    all.test("300 cancels and closes at random") {
        val random = Random(7)
        var model = open()
        var talk = model.conversation { sampling = Sampling(temperature = 1f, maxTokens = 200) }
        val expected = model.complete(PROMPT, limit(16)).logitsHash
        var ends = IntArray(5)
        repeat(300) {
            val (m, t, kind) = Triple(model, talk, random.nextInt(5))
            ends[kind] += 1
            val job = launch(Dispatchers.Default) {
                try {
                    if (kind == 0) m.generate(PROMPT).take(1 + random.nextInt(3)).collect() else t.stream("Tell me.").collect()
                } catch (e: CaratException) {
                    if (e.code != ErrorCode.ABORTED && e.code != ErrorCode.PARAMETER) throw e
                } catch (e: CancellationException) {
                    throw e
                }
            }
            delay(random.nextInt(12).toLong())
            when (kind) {
                1, 2 -> job.cancelAndJoin()
                3 -> t.close()
                4 -> if (random.nextInt(4) == 0) m.close() else job.cancelAndJoin()
            }
            job.join()
            if (model.isClosed) model = open()
            if (model !== m || kind == 3) talk = model.conversation { sampling = Sampling(temperature = 1f, maxTokens = 200) }
            if (talk.messages().size > 6) talk.setMessages("[]")
        }
        println("      take ${ends[0]}, cancel ${ends[1] + ends[2]}, conversation closed ${ends[3]}, model closed or cancel ${ends[4]}")
        same(model.complete(PROMPT, limit(16)).logitsHash, expected, "hash after all of it")
        model.close()
        delay(50)
        val threads = java.io.File("/proc/self/task").listFiles().orEmpty().count { java.io.File(it, "comm").readText().trim() == "carat" }
        same(threads, 0, "threads that compute texts")
    }
}

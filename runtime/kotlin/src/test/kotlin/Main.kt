import dev.carat.LoadOptions
import dev.carat.Model
import kotlin.system.exitProcess
import kotlinx.coroutines.runBlocking

val path: String = System.getenv("CARAT_TEST_MODEL") ?: error("CARAT_TEST_MODEL: the path of the bundled model as a Carat file")

suspend fun open() = Model.load(path, LoadOptions(device = "cpu", threads = 2))

fun main() {
    val all = Harness()
    val model = runBlocking { open() }
    models(all, model)
    texts(all, model)
    conversations(all, model)
    types(all, model)
    endings(all)
    model.close()
    exitProcess(all.end())
}

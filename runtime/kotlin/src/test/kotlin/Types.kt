import dev.carat.CaratException
import dev.carat.Describe
import dev.carat.ErrorCode
import dev.carat.Model
import dev.carat.PieceKind
import dev.carat.Sampling
import dev.carat.TextOptions
import dev.carat.ToolChoice
import dev.carat.schemaOf
import dev.carat.tool
import kotlinx.coroutines.flow.toList
import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.Json

@Serializable
enum class Weather { SUN, RAIN }

@Serializable
data class Day(@Describe("of the month") val day: Byte, val weather: Weather, val note: Boolean? = null)

@Serializable
data class Tree(val ok: Boolean, val left: Tree?)

@Serializable
sealed interface Shape

@Serializable
@SerialName("round")
data class Round(val radius: Byte) : Shape

@Serializable
@SerialName("flat")
data class Flat(val sides: Byte) : Shape

@Serializable
data class Pair2(val first: Weather, val days: Map<String, Day>, val shape: Shape)

@Serializable
data class Place(val north: Boolean)

@Serializable
data class Report(val weather: Weather)

private fun json(text: String) = Json.parseToJsonElement(text)

fun types(all: Harness, model: Model) {
    all.test("schemas of types") {
        val day = """{"type":"object","properties":{"day":{"type":"integer","minimum":-128,"maximum":127,"description":"of the month"},
            "weather":{"enum":["SUN","RAIN"]},"note":{"anyOf":[{"type":"boolean"},{"type":"null"}]}},
            "required":["day","weather"],"additionalProperties":false}"""
        same(json(schemaOf<Day>()), json(day), "a class")
        val tree = json(schemaOf<Tree>()).toString()
        holds("\"anyOf\":[{\"\$ref\":\"#/\$defs/Tree\"},{\"type\":\"null\"}]" in tree) { tree }
        val shapes = json(schemaOf<Pair2>()).toString()
        holds("{\"const\":\"round\"}" in shapes && "additionalProperties\":{\"type\":\"object\"" in shapes) { shapes }
        same(json(schemaOf<List<Int>>()).toString().take(30), """{"type":"array","items":{"type""", "a list")
        fails(ErrorCode.PARAMETER, "keys") { schemaOf<Map<Int, String>>() }
    }
    all.test("answers are values of types") {
        model.conversation { sampling = Sampling(temperature = 1f, seed = 3, maxTokens = 200) }.use { talk ->
            try {
                val day: Day = talk.respondAs("Which day is it?")
                holds(talk.messages().last().text.isNotEmpty()) { "$day" }
            } catch (e: CaratException) {
                // Without the feature `grammar` an app is told so.
                if (System.getenv("CARAT_NO_GRAMMAR") == null) throw e
                return@test
            }
            val tree: Tree = talk.respondAs("A tree, please.")
            val shape: Shape = talk.respondAs("A shape, please.")
            holds(shape is Round || shape is Flat) { "$tree $shape" }
            val short = TextOptions(Sampling(greedy = true, maxTokens = 2))
            fails(ErrorCode.PARAMETER, "a cut answer") { talk.respondAs<Day>("Which day is it?", short) }
        }
    }
    all.test("tools are called, and their results reach the model") {
        val asked = mutableListOf<Boolean>()
        val weather = tool("weather", "The weather of a place") { place: Place ->
            asked += place.north
            Report(Weather.RAIN)
        }
        model.conversation { tools = listOf(weather); sampling = Sampling(greedy = true, maxTokens = 100) }.use { talk ->
            val texts = mutableListOf<String>()
            val must = TextOptions(toolChoice = ToolChoice.Required)
            val pieces = talk.stream("What is the weather?", must) { texts += it.reason }.toList()
            val calls = pieces.filter { it.kind == PieceKind.CALL }
            holds(asked.isNotEmpty() && calls.size == asked.size) { "calls $calls, asked $asked" }
            holds(texts.size >= 2) { "texts $texts" }
            holds("""{\"weather\":\"RAIN\"}""" in talk.messagesJson()) { talk.messagesJson() }
            same(talk.messages().last().role, "assistant", "who speaks last")
        }
    }
    all.test("rounds of tools are bounded") {
        var runs = 0
        // The tool whose name the model is told of here calls for itself again each time.
        val again = tool("again", "Again") { _: Place -> runs += 1; "call again" }
        model.conversation { tools = listOf(again); toolRounds = 1; sampling = Sampling(greedy = true, maxTokens = 60) }.use { talk ->
            talk.ask("Again.", TextOptions(toolChoice = ToolChoice.Named("again")))
            same(runs, 1, "runs")
        }
    }
    all.test("what a tool throws is thrown, and undo takes the message back") {
        val broken = tool("broken", "Broken") { _: Place -> if (true) error("no network") else "" }
        model.conversation { tools = listOf(broken); sampling = Sampling(greedy = true, maxTokens = 60) }.use { talk ->
            val thrown = runCatching { talk.ask("Try.", TextOptions(toolChoice = ToolChoice.Required)) }
            same(thrown.exceptionOrNull()?.message, "no network", "message")
            same(talk.undo(), "Try.", "the message")
            talk.setTools(emptyList())
            holds(talk.respond("Go on.").isNotEmpty()) { "no answer" }
        }
    }
}

package dev.carat

import kotlinx.serialization.ExperimentalSerializationApi
import kotlinx.serialization.SerialInfo
import kotlinx.serialization.descriptors.PolymorphicKind
import kotlinx.serialization.descriptors.PrimitiveKind
import kotlinx.serialization.descriptors.SerialDescriptor
import kotlinx.serialization.descriptors.SerialKind
import kotlinx.serialization.descriptors.StructureKind
import kotlinx.serialization.descriptors.elementDescriptors
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonObjectBuilder
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonArray
import kotlinx.serialization.json.putJsonObject
import kotlinx.serialization.serializer

/** What a property or class is, for the `description` of its schema. */
@OptIn(ExperimentalSerializationApi::class)
@SerialInfo
@Target(AnnotationTarget.PROPERTY, AnnotationTarget.CLASS)
annotation class Describe(val text: String)

/**
 * The JSON schema of a `@Serializable` type, as kotlinx.serialization's JSON writes it.
 *
 * @throws CaratException the type is open (`Any`, an interface that is not sealed), or a map has keys that are no strings.
 */
inline fun <reified T> schemaOf(): String = schemaOf(serializer<T>().descriptor)

/** As above, of a descriptor. */
fun schemaOf(of: SerialDescriptor): String = Schema().whole(of).toString()

@OptIn(ExperimentalSerializationApi::class)
private class Schema {
    /** Classes by their names; one that is under way is null, so that a type may contain itself. */
    private val known = LinkedHashMap<String, JsonElement?>()

    fun whole(of: SerialDescriptor): JsonObject {
        val root = at(of)
        // A root that is a class stands inline where nothing refers to it.
        val refers = (known.values + root).any { it.toString().contains(REFERENCES) }
        return buildJsonObject {
            root.forEach { (name, value) -> put(name, value) }
            if (refers) putJsonObject("\$defs") { known.forEach { (name, value) -> put(name, value!!) } }
        }
    }

    private fun at(of: SerialDescriptor): JsonObject {
        val plain = if (of.isInline) at(of.getElementDescriptor(0)) else bare(of)
        if (!of.isNullable) return plain
        return buildJsonObject { putJsonArray("anyOf") { add(plain); add(type("null")) } }
    }

    private fun bare(of: SerialDescriptor): JsonObject = when (val kind = of.kind) {
        PrimitiveKind.BOOLEAN -> type("boolean")
        PrimitiveKind.BYTE -> integer(Byte.MIN_VALUE.toLong(), Byte.MAX_VALUE.toLong())
        PrimitiveKind.SHORT -> integer(Short.MIN_VALUE.toLong(), Short.MAX_VALUE.toLong())
        PrimitiveKind.INT -> integer(Int.MIN_VALUE.toLong(), Int.MAX_VALUE.toLong())
        PrimitiveKind.LONG -> integer(-EXACT, EXACT)
        PrimitiveKind.FLOAT, PrimitiveKind.DOUBLE -> type("number")
        PrimitiveKind.STRING -> type("string")
        PrimitiveKind.CHAR -> buildJsonObject { put("type", "string"); put("minLength", 1); put("maxLength", 1) }
        SerialKind.ENUM -> buildJsonObject {
            putJsonArray("enum") { repeat(of.elementsCount) { add(JsonPrimitive(of.getElementName(it))) } }
        }
        StructureKind.LIST -> buildJsonObject { put("type", "array"); put("items", at(of.getElementDescriptor(0))) }
        StructureKind.MAP -> map(of)
        StructureKind.CLASS, StructureKind.OBJECT -> named(of) { members(of, null) }
        PolymorphicKind.SEALED -> named(of) { sealed(of) }
        else -> throw parameter("the type ${of.serialName} is open ($kind); give the schema a class, or a sealed interface")
    }

    private fun type(name: String) = buildJsonObject { put("type", name) }

    private fun integer(from: Long, to: Long) =
        buildJsonObject { put("type", "integer"); put("minimum", from); put("maximum", to) }

    private fun map(of: SerialDescriptor): JsonObject {
        val key = of.getElementDescriptor(0)
        if (key.kind != PrimitiveKind.STRING) {
            throw parameter("the map ${of.serialName} has keys of ${key.serialName}; expected String")
        }
        return buildJsonObject { put("type", "object"); put("additionalProperties", at(of.getElementDescriptor(1))) }
    }

    /** What may contain itself. */
    private fun named(of: SerialDescriptor, make: () -> JsonObject): JsonObject {
        val name = of.serialName.removeSuffix("?")
        if (name in known) return buildJsonObject { put("\$ref", "$REFERENCES$name") }
        known[name] = null
        val made = make()
        known[name] = made
        return made
    }

    private fun members(of: SerialDescriptor, kind: String?) = buildJsonObject {
        put("type", "object")
        describe(of.annotations)
        putJsonObject("properties") {
            kind?.let { putJsonObject(KIND) { put("const", it) } }
            repeat(of.elementsCount) { put(of.getElementName(it), member(of, it)) }
        }
        val required = (0..<of.elementsCount).filterNot(of::isElementOptional).map(of::getElementName)
        put("required", JsonArray((listOfNotNull(kind?.let { KIND }) + required).map(::JsonPrimitive)))
        put("additionalProperties", false)
    }

    private fun member(of: SerialDescriptor, index: Int): JsonObject {
        val schema = at(of.getElementDescriptor(index))
        val says = of.getElementAnnotations(index)
        if (says.none { it is Describe } || "\$ref" in schema) return schema
        return buildJsonObject {
            schema.forEach { (name, value) -> put(name, value) }
            describe(says)
        }
    }

    private fun JsonObjectBuilder.describe(annotations: List<Annotation>) {
        annotations.filterIsInstance<Describe>().firstOrNull()?.let { put("description", it.text) }
    }

    /** The second element of a sealed type holds its classes; each is written with its name as `type`. */
    private fun sealed(of: SerialDescriptor) = buildJsonObject {
        putJsonArray("anyOf") {
            of.getElementDescriptor(1).elementDescriptors.forEach { add(members(it, it.serialName)) }
        }
    }

    private companion object {
        const val REFERENCES = "#/\$defs/"
        const val KIND = "type"

        /** Integers that every reader of JSON keeps. */
        const val EXACT = 1L shl 53
    }
}

package standin;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.yahoo.config.model.NullConfigModelRegistry;
import com.yahoo.config.model.application.provider.FilesApplicationPackage;
import com.yahoo.config.model.deploy.DeployState;
import com.yahoo.config.model.deploy.TestProperties;
import com.yahoo.document.DocumentPut;
import com.yahoo.document.DocumentTypeManager;
import com.yahoo.document.datatypes.TensorFieldValue;
import com.yahoo.document.json.JsonReader;
import com.yahoo.prelude.IndexFacts;
import com.yahoo.prelude.IndexModel;
import com.yahoo.prelude.query.AndItem;
import com.yahoo.prelude.query.BoolItem;
import com.yahoo.prelude.query.CompositeItem;
import com.yahoo.prelude.query.FalseItem;
import com.yahoo.prelude.query.IntItem;
import com.yahoo.prelude.query.Item;
import com.yahoo.prelude.query.NotItem;
import com.yahoo.prelude.query.NumericInItem;
import com.yahoo.prelude.query.OrItem;
import com.yahoo.prelude.query.RegExpItem;
import com.yahoo.prelude.query.StringInItem;
import com.yahoo.prelude.query.TrueItem;
import com.yahoo.restapi.Path;
import com.yahoo.schema.Schema;
import com.yahoo.schema.derived.DerivedConfiguration;
import com.yahoo.schema.derived.Deriver;
import com.yahoo.schema.derived.SchemaInfo;
import com.yahoo.search.config.IndexInfoConfig;
import com.yahoo.search.query.parser.Parsable;
import com.yahoo.search.query.parser.ParserEnvironment;
import com.yahoo.search.yql.YqlParser;
import com.yahoo.vespa.model.VespaModel;
import com.yahoo.yolean.Exceptions;

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

/**
 * What Vespa's own classes make of what the connector writes, for many inputs in one process. Reads one JSON value
 * per line and answers each with one line:
 * "packages": the folder of an application package -> its warnings, or its error;
 * "queries APP": YQL -> the query tree; "paths": a request path -> the parts of /document/v1;
 * "feed APP": an operation of a feed file -> its document.
 */
class Check {

    private static final ObjectMapper json = new ObjectMapper();

    private interface Command { Object answer(JsonNode line) throws Exception; }

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(System.err);
        Command command = switch (args[0]) {
            case "packages" -> line -> accept(line.asText());
            case "queries" -> queries(args[1]);
            case "paths" -> line -> path(line.asText());
            case "feed" -> feed(args[1]);
            default -> throw new IllegalArgumentException(args[0]);
        };
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            Object answer;
            try { answer = command.answer(json.readTree(line)); }
            catch (Exception | StackOverflowError e) { answer = Map.of("error", Exceptions.toMessageString(e)); }
            out.println(json.writeValueAsString(answer));
        }
    }

    private static DeployState state(String folder, List<String> warnings) {
        return new DeployState.Builder().applicationPackage(FilesApplicationPackage.fromDir(new File(folder), true, Map.of()))
                                        .properties(new TestProperties())
                                        .deployLogger((level, message) -> warnings.add(level + ": " + message)).build();
    }

    private static Object accept(String folder) throws Exception {
        List<String> warnings = new ArrayList<>();
        DeployState state = state(folder, warnings);
        new VespaModel(new NullConfigModelRegistry(), state);
        for (Schema schema : state.getSchemas())
            RankProgram.verify(new ContentNode.DocumentDb(schema, new DerivedConfiguration(state, schema, SchemaInfo.IndexMode.INDEX)));
        return Map.of("warnings", warnings);
    }

    private static Command queries(String folder) throws Exception {
        DeployState state = state(folder, new ArrayList<>());
        Schema schema = state.getSchemas().get(0);
        var config = new IndexInfoConfig.Builder();
        new DerivedConfiguration(state, schema, SchemaInfo.IndexMode.INDEX).getIndexInfo().getConfig(config);
        IndexFacts facts = new IndexFacts(new IndexModel(config.build(), Map.of("content", List.of(schema.getName()))));
        return line -> {
            YqlParser parser = new YqlParser(new ParserEnvironment().setIndexFacts(facts));
            return tree(parser.parse(new Parsable().setQuery(line.asText())).getRoot());
        };
    }

    private static Object tree(Item item) {
        if (item instanceof TrueItem) return "true";
        if (item instanceof FalseItem) return "false";
        if (item instanceof StringInItem in) return List.of("in", in.getIndexName(), new TreeSet<>(in.getTokens()));
        if (item instanceof NumericInItem in) return List.of("in", in.getIndexName(), new TreeSet<>(in.getTokens()));
        if (item instanceof RegExpItem match) return List.of("matches", match.getIndexName(), match.stringValue());
        if (item instanceof BoolItem bool) return List.of("=", bool.getIndexName(), bool.value());
        if (item instanceof IntItem number) return List.of("=", number.getIndexName(), number.getNumber());
        String name = item instanceof AndItem ? "and" : item instanceof OrItem ? "or" : item instanceof NotItem ? "not" : null;
        if (name == null) return List.of(item.getClass().getSimpleName(), item.toString());
        List<Object> parts = new ArrayList<>(List.of(name));
        ((CompositeItem) item).items().forEach(child -> parts.add(tree(child)));
        return parts;
    }

    private static Object path(String raw) {
        Path path = Path.withoutValidation(URI.create("http://localhost" + raw));
        if (!path.matches("/document/v1/{namespace}/{documentType}/docid/{*}")) return Map.of("error", "no document");
        String id = String.join("/", path.getRest().segments());
        return List.of(path.get("namespace"), path.get("documentType"), id);
    }

    private static Command feed(String folder) throws Exception {
        File[] schemas = new File(folder, "schemas").listFiles();
        DocumentTypeManager types = new DocumentTypeManager(Deriver.getDocumentManagerConfig(List.of(schemas[0].getPath())).build());
        return line -> {
            byte[] operation = ("[" + json.writeValueAsString(line) + "]").getBytes(StandardCharsets.UTF_8);
            var reader = new JsonReader(types, new ByteArrayInputStream(operation), JsonFactory.builder().build());
            DocumentPut put = (DocumentPut) reader.next();
            Map<String, Object> fields = new LinkedHashMap<>();
            put.getDocument().iterator().forEachRemaining(entry -> {
                Object value = entry.getValue().toString();
                if (entry.getValue() instanceof TensorFieldValue tensor && tensor.getTensor().isPresent()) {
                    Map<String, Double> cells = new LinkedHashMap<>();
                    tensor.getTensor().get().cellIterator().forEachRemaining(cell -> cells.put(cell.getKey().toString(tensor.getTensor().get().type()), cell.getValue()));
                    value = cells;
                }
                fields.put(entry.getKey().getName(), value);
            });
            return Map.of("id", put.getId().toString(), "fields", fields);
        };
    }
}

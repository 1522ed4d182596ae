package standin;

import ai.vespa.searchlib.searchprotocol.protobuf.SearchProtocol.*;
import com.yahoo.document.datatypes.Array;
import com.yahoo.document.datatypes.BoolFieldValue;
import com.yahoo.document.datatypes.DoubleFieldValue;
import com.yahoo.document.datatypes.FieldValue;
import com.yahoo.document.datatypes.FloatFieldValue;
import com.yahoo.document.datatypes.NumericFieldValue;
import com.yahoo.document.datatypes.TensorFieldValue;
import com.yahoo.document.datatypes.WeightedSet;
import com.yahoo.schema.document.Attribute;
import com.yahoo.schema.document.Case;
import com.yahoo.schema.document.SDField;
import com.yahoo.tensor.Tensor;
import standin.ContentNode.Doc;
import standin.ContentNode.DocumentDb;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiPredicate;
import java.util.function.Predicate;
import java.util.regex.Pattern;

/**
 * Evaluates the query tree that the container sends over all documents. The items that pick the best k
 * (nearestNeighbor, wand, weakAnd) are exact: the best k of the documents which the rest of the query lets through.
 */
class Matcher {

    /** How the top-k items count: as they are; as if they let everything / nothing through (to find what they pick from). */
    private enum Mode { FINAL, UPPER, LOWER }

    private final DocumentDb db;
    private final List<Doc> docs;
    private final QueryTreeItem root;
    private final RankProgram program;
    private final List<QueryTreeItem> leaves = new ArrayList<>();
    private final Map<Object, Map<Doc, Double>> picked = new IdentityHashMap<>();   // top-k item -> document -> score
    private final Map<String, double[]> queryVectors = new HashMap<>();
    private final Map<QueryTreeItem, Map<String, Integer>> queryWeights = new IdentityHashMap<>();
    private final Map<String, Double> documentFrequency = new HashMap<>();
    private final Map<String, Double> averageLength = new HashMap<>();

    Matcher(DocumentDb db, List<Doc> docs, QueryTreeItem root, RankProgram program) {
        this.db = db;
        this.docs = docs;
        this.root = root;
        this.program = program;
        List<QueryTreeItem> topK = new ArrayList<>();
        collect(root, topK);
        if (topK.isEmpty()) return;
        List<Doc> candidates = docs.stream().filter(d -> match(root, d, Mode.UPPER)).toList();
        for (QueryTreeItem item : topK) pick(item, candidates);
    }

    List<Doc> matches() { return docs.stream().filter(d -> match(root, d, Mode.FINAL)).toList(); }

    private static List<QueryTreeItem> children(QueryTreeItem item) {
        return switch (item.getItemCase()) {
            case ITEM_OR -> item.getItemOr().getChildrenList();
            case ITEM_AND -> item.getItemAnd().getChildrenList();
            case ITEM_AND_NOT -> item.getItemAndNot().getChildrenList();
            case ITEM_RANK -> item.getItemRank().getChildrenList();
            case ITEM_WEAK_AND -> item.getItemWeakAnd().getChildrenList();
            case ITEM_EQUIV -> item.getItemEquiv().getChildrenList();
            case ITEM_NEAR -> item.getItemNear().getChildrenList();
            case ITEM_ONEAR -> item.getItemOnear().getChildrenList();
            case ITEM_PHRASE -> item.getItemPhrase().getChildrenList();
            default -> List.of();
        };
    }

    private void collect(QueryTreeItem item, List<QueryTreeItem> topK) {
        switch (item.getItemCase()) {
            case ITEM_NEAREST_NEIGHBOR, ITEM_LONG_WAND, ITEM_STRING_WAND, ITEM_WEAK_AND -> topK.add(item);
            default -> { }
        }
        List<QueryTreeItem> children = children(item);
        if (children.isEmpty()) leaves.add(item);
        for (QueryTreeItem child : children) collect(child, topK);
    }

    private void pick(QueryTreeItem item, List<Doc> candidates) {
        Map<Doc, Double> scores = new IdentityHashMap<>();
        int wanted;
        double limit = 0;
        switch (item.getItemCase()) {
            case ITEM_NEAREST_NEIGHBOR -> {
                ItemNearestNeighbor nn = item.getItemNearestNeighbor();
                wanted = nn.getTargetNumHits();
                limit = Double.NEGATIVE_INFINITY;
                for (Doc doc : candidates) {
                    Double distance = distance(doc, nn);
                    if (distance != null && !(nn.getDistanceThreshold() > 0 && distance > nn.getDistanceThreshold())) scores.put(doc, -distance);
                }
            }
            case ITEM_LONG_WAND -> { wanted = item.getItemLongWand().getTargetNumHits(); limit = item.getItemLongWand().getScoreThreshold(); }
            case ITEM_STRING_WAND -> { wanted = item.getItemStringWand().getTargetNumHits(); limit = item.getItemStringWand().getScoreThreshold(); }
            default -> {
                wanted = item.getItemWeakAnd().getTargetNumHits();
                limit = Double.NEGATIVE_INFINITY;
                for (Doc doc : candidates)
                    if (children(item).stream().anyMatch(c -> match(c, doc, Mode.UPPER))) scores.put(doc, children(item).stream().mapToDouble(c -> bm25(doc, c)).sum());
            }
        }
        if (scores.isEmpty() && item.getItemCase() != QueryTreeItem.ItemCase.ITEM_NEAREST_NEIGHBOR)
            for (Doc doc : candidates) {
                Double score = product(item, doc);
                if (score != null) scores.put(doc, score);
            }
        double above = limit;
        Map<Doc, Double> best = new IdentityHashMap<>();
        scores.entrySet().stream().filter(e -> e.getValue() > above)
              .sorted(Comparator.<Map.Entry<Doc, Double>>comparingDouble(e -> -e.getValue()).thenComparingInt(e -> e.getKey().lid()))
              .limit(wanted).forEach(e -> best.put(e.getKey(), e.getValue()));
        picked.put(item, best);
    }

    private boolean match(QueryTreeItem item, Doc doc, Mode mode) {
        switch (item.getItemCase()) {
            case ITEM_TRUE: return true;
            case ITEM_FALSE: return false;
            case ITEM_OR: return children(item).stream().anyMatch(c -> match(c, doc, mode));
            case ITEM_AND: return children(item).stream().allMatch(c -> match(c, doc, mode));
            case ITEM_AND_NOT: {
                List<QueryTreeItem> children = children(item);
                Mode inverse = mode == Mode.FINAL ? Mode.FINAL : mode == Mode.UPPER ? Mode.LOWER : Mode.UPPER;
                return match(children.get(0), doc, mode) && children.subList(1, children.size()).stream().noneMatch(c -> match(c, doc, inverse));
            }
            case ITEM_RANK: return match(children(item).get(0), doc, mode);
            case ITEM_EQUIV: return children(item).stream().anyMatch(c -> match(c, doc, mode));
            case ITEM_NEAR, ITEM_ONEAR: return children(item).stream().allMatch(c -> match(c, doc, mode));       // distance not checked
            case ITEM_NEAREST_NEIGHBOR, ITEM_LONG_WAND, ITEM_STRING_WAND, ITEM_WEAK_AND:
                if (mode == Mode.FINAL) return picked.get(item).containsKey(doc);
                if (mode == Mode.LOWER) return false;
                return item.getItemCase() == QueryTreeItem.ItemCase.ITEM_NEAREST_NEIGHBOR
                       || (item.getItemCase() == QueryTreeItem.ItemCase.ITEM_WEAK_AND ? children(item).stream().anyMatch(c -> match(c, doc, mode)) : product(item, doc) != null);
            case ITEM_DOT_PRODUCT_OF_LONG, ITEM_DOT_PRODUCT_OF_STRING: return product(item, doc) != null;
            case ITEM_PHRASE: return phrase(item, doc);
            case ITEM_WORD_TERM, ITEM_EXACTSTRING_TERM, ITEM_INTEGER_TERM, ITEM_FLOATING_POINT_TERM, ITEM_PREFIX_TERM, ITEM_SUFFIX_TERM, ITEM_SUBSTRING_TERM, ITEM_REGEXP,
                 ITEM_INTEGER_RANGE_TERM, ITEM_FLOATING_POINT_RANGE_TERM, ITEM_STRING_IN, ITEM_NUMERIC_IN, ITEM_WEIGHTED_SET_OF_LONG, ITEM_WEIGHTED_SET_OF_STRING, ITEM_WORD_ALTERNATIVES:
                Predicate<Object> test = test(item);
                for (String field : fields(properties(item).getIndex())) for (Object value : values(doc, field)) if (test.test(value)) return true;
                return false;
            default: throw new UnsupportedOperationException("query item " + item.getItemCase() + " is not supported");
        }
    }

    static TermItemProperties properties(QueryTreeItem item) {
        for (var field : item.getAllFields().values())
            if (field instanceof com.google.protobuf.Message m) {
                var descriptor = m.getDescriptorForType().findFieldByName("properties");
                if (descriptor != null) return (TermItemProperties) m.getField(descriptor);
            }
        return TermItemProperties.getDefaultInstance();
    }

    /** The fields of a field set, or the one field. */
    private Collection<String> fields(String index) {
        var set = db.schema.fieldSets().userFieldSets().get(index.isEmpty() ? "default" : index);
        return set != null ? set.getFieldNames() : List.of(index);
    }

    /** A string of an attribute with 'match: cased'; other strings are compared in lower case. */
    private record Cased(String text) { }

    /** What a term on this field is compared with: BigDecimal, Cased or String; the text's terms where it is indexed. */
    private List<Object> values(Doc doc, String field) {
        if (doc.terms().containsKey(field)) return new ArrayList<>(doc.terms().get(field));
        FieldValue value = doc.document().getDataType().hasField(field) ? doc.document().getFieldValue(field) : null;
        if (value == null && db.schema.getField(field) != null) return unset(field);
        SDField declared = db.schema.getConcreteField(field);
        boolean cased = declared != null && declared.getMatching().getCase() == Case.CASED;
        List<Object> found = new ArrayList<>();
        if (value instanceof Array<?> array) array.forEach(v -> found.add(simple((FieldValue) v, cased)));
        else if (value instanceof WeightedSet<?> set) set.keySet().forEach(v -> found.add(simple(v, cased)));
        else if (value != null) found.add(simple(value, cased));
        return found;
    }

    /** What a real node keeps for an attribute without a value: false, "" or the lowest number, which ranges do find. */
    private List<Object> unset(String field) {
        Attribute attribute = db.derived.getAttributeFields().getAttribute(field);
        if (attribute == null || attribute.getCollectionType() != Attribute.CollectionType.SINGLE) return List.of();
        return switch (attribute.getType()) {
            case BOOL -> List.of(BigDecimal.ZERO);
            case INTEGER -> List.of(BigDecimal.valueOf(Integer.MIN_VALUE));
            case LONG -> List.of(BigDecimal.valueOf(Long.MIN_VALUE));
            case STRING -> List.of("");
            default -> List.of();
        };
    }

    private static Object simple(FieldValue value, boolean cased) {
        if (value instanceof BoolFieldValue v) return v.getBoolean() ? BigDecimal.ONE : BigDecimal.ZERO;
        if (value instanceof DoubleFieldValue || value instanceof FloatFieldValue) {
            double number = ((NumericFieldValue) value).getNumber().doubleValue();
            return Double.isFinite(number) ? new BigDecimal(number) : "NaN";
        }
        if (value instanceof NumericFieldValue v) return BigDecimal.valueOf(v.getNumber().longValue());
        return cased ? new Cased(value.toString()) : value.toString().toLowerCase();
    }

    private static Predicate<Object> test(QueryTreeItem item) {
        return switch (item.getItemCase()) {
            case ITEM_WORD_TERM -> word(item.getItemWordTerm().getWord());
            case ITEM_EXACTSTRING_TERM -> word(item.getItemExactstringTerm().getWord());
            case ITEM_INTEGER_TERM -> word(Long.toString(item.getItemIntegerTerm().getNumber()));
            case ITEM_FLOATING_POINT_TERM -> word(Double.toString(item.getItemFloatingPointTerm().getNumber()));
            case ITEM_PREFIX_TERM -> text(item.getItemPrefixTerm().getWord(), String::startsWith);
            case ITEM_SUFFIX_TERM -> text(item.getItemSuffixTerm().getWord(), String::endsWith);
            case ITEM_SUBSTRING_TERM -> text(item.getItemSubstringTerm().getWord(), String::contains);
            case ITEM_REGEXP -> regexp(item.getItemRegexp().getRegexp());
            case ITEM_INTEGER_RANGE_TERM -> {
                var r = item.getItemIntegerRangeTerm();
                yield range(BigDecimal.valueOf(r.getLowerLimit()), BigDecimal.valueOf(r.getUpperLimit()), r.getLowerInclusive(), r.getUpperInclusive());
            }
            case ITEM_FLOATING_POINT_RANGE_TERM -> {
                var r = item.getItemFloatingPointRangeTerm();
                yield range(limit(r.getLowerLimit()), limit(r.getUpperLimit()), r.getLowerInclusive(), r.getUpperInclusive());
            }
            case ITEM_STRING_IN -> any(item.getItemStringIn().getWordsList());
            case ITEM_NUMERIC_IN -> any(item.getItemNumericIn().getNumbersList());
            case ITEM_WEIGHTED_SET_OF_LONG -> any(item.getItemWeightedSetOfLong().getWeightedLongsList().stream().map(PureWeightedLong::getValue).toList());
            case ITEM_WEIGHTED_SET_OF_STRING -> any(item.getItemWeightedSetOfString().getWeightedStringsList().stream().map(PureWeightedString::getValue).toList());
            case ITEM_WORD_ALTERNATIVES -> any(item.getItemWordAlternatives().getWeightedStringsList().stream().map(PureWeightedString::getValue).toList());
            default -> throw new UnsupportedOperationException("query item " + item.getItemCase() + " is not supported");
        };
    }

    private static Predicate<Object> any(List<?> words) {
        List<Predicate<Object>> tests = words.stream().map(w -> word(w.toString())).toList();
        return v -> tests.stream().anyMatch(t -> t.test(v));
    }

    private static Predicate<Object> text(String wanted, BiPredicate<String, String> test) {
        String lower = wanted.toLowerCase();
        return value -> value instanceof Cased cased ? test.test(cased.text, wanted) : test.test(value.toString(), lower);
    }

    private static Predicate<Object> regexp(String pattern) {
        Pattern exact = Pattern.compile(pattern), folded = Pattern.compile(pattern, Pattern.CASE_INSENSITIVE);
        return value -> value instanceof Cased cased ? exact.matcher(cased.text).find() : folded.matcher(value.toString()).find();
    }

    private static Predicate<Object> word(String word) {
        Predicate<Object> text = text(word, String::equals);
        BigDecimal wanted = word.equals("true") ? BigDecimal.ONE : word.equals("false") ? BigDecimal.ZERO : decimal(word);
        return value -> value instanceof BigDecimal number ? wanted != null && number.compareTo(wanted) == 0 : text.test(value);
    }

    /** The double that a literal stands for, exactly, or the integer. */
    private static BigDecimal decimal(String word) {
        try { return new BigDecimal(Long.parseLong(word)); } catch (NumberFormatException e) { /* no integer */ }
        try { return limit(Double.parseDouble(word)); } catch (NumberFormatException e) { return null; }
    }

    /** Infinity as a number beyond all others. */
    private static BigDecimal limit(double number) {
        return Double.isFinite(number) ? new BigDecimal(number) : new BigDecimal(number > 0 ? "1e400" : "-1e400");
    }

    private static Predicate<Object> range(BigDecimal low, BigDecimal high, boolean withLow, boolean withHigh) {
        return value -> value instanceof BigDecimal v && v.compareTo(low) >= (withLow ? 0 : 1) && v.compareTo(high) <= (withHigh ? 0 : -1);
    }

    private boolean phrase(QueryTreeItem item, Doc doc) {
        List<String> words = children(item).stream().map(c -> c.getItemWordTerm().getWord().toLowerCase()).toList();
        for (String field : fields(item.getItemPhrase().getProperties().getIndex())) {
            List<String> terms = doc.terms().getOrDefault(field, List.of());
            for (int i = 0; i + words.size() <= terms.size(); i++) if (terms.subList(i, i + words.size()).equals(words)) return true;
        }
        return false;
    }

    /** The dot product of a wand or dotProduct item and a weighted set field, or null when they share no key. */
    private Double product(QueryTreeItem item, Doc doc) {
        Map<String, Integer> weights = queryWeights.computeIfAbsent(item, Matcher::weights);
        if (weights.isEmpty()) return null;
        String field = properties(item).getIndex();
        if (!(doc.document().getDataType().hasField(field) && doc.document().getFieldValue(field) instanceof WeightedSet<?> set)) return null;
        Map<String, Integer> stored = doc.cached("weights " + field, () -> {
            Map<String, Integer> map = new HashMap<>();
            set.forEach((key, weight) -> map.put(key.toString(), weight));
            return map;
        });
        boolean found = false;
        long sum = 0;
        for (var e : weights.entrySet()) {
            Integer weight = stored.get(e.getKey());
            if (weight == null) continue;
            found = true;
            sum += (long) weight * e.getValue();
        }
        return found ? (double) sum : null;
    }

    private static Map<String, Integer> weights(QueryTreeItem item) {
        Map<String, Integer> weights = new HashMap<>();
        switch (item.getItemCase()) {
            case ITEM_LONG_WAND -> item.getItemLongWand().getWeightedLongsList().forEach(w -> weights.put(Long.toString(w.getValue()), w.getWeight()));
            case ITEM_STRING_WAND -> item.getItemStringWand().getWeightedStringsList().forEach(w -> weights.put(w.getValue(), w.getWeight()));
            case ITEM_DOT_PRODUCT_OF_LONG -> item.getItemDotProductOfLong().getWeightedLongsList().forEach(w -> weights.put(Long.toString(w.getValue()), w.getWeight()));
            case ITEM_DOT_PRODUCT_OF_STRING -> item.getItemDotProductOfString().getWeightedStringsList().forEach(w -> weights.put(w.getValue(), w.getWeight()));
            default -> { }
        }
        return weights;
    }

    /** What rawScore(field) and itemRawScore(label) sum over. */
    double rawScore(Doc doc, Predicate<TermItemProperties> wanted) {
        double sum = 0;
        for (QueryTreeItem item : leaves) {
            if (!wanted.test(properties(item))) continue;
            switch (item.getItemCase()) {
                case ITEM_LONG_WAND, ITEM_STRING_WAND -> sum += picked.get(item).getOrDefault(doc, 0.0);
                case ITEM_DOT_PRODUCT_OF_LONG, ITEM_DOT_PRODUCT_OF_STRING -> { Double p = product(item, doc); sum += p == null ? 0 : p; }
                case ITEM_NEAREST_NEIGHBOR -> { if (picked.get(item).containsKey(doc)) sum += closeness(item.getItemNearestNeighbor().getProperties().getIndex(), distance(doc, item.getItemNearestNeighbor())); }
                default -> { }
            }
        }
        return sum;
    }

    /** distance() or closeness() of a field or label, computed for every hit as long as the query has such a nearestNeighbor. */
    double distance(Doc doc, String name, boolean label, boolean closeness) {
        int id = label ? (int) program.property("vespa.label." + name + ".id", -1) : -1;
        Double least = null;
        String field = name;
        for (QueryTreeItem item : leaves) {
            if (item.getItemCase() != QueryTreeItem.ItemCase.ITEM_NEAREST_NEIGHBOR) continue;
            ItemNearestNeighbor nn = item.getItemNearestNeighbor();
            if (label ? nn.getProperties().getUniqueId() != id : !nn.getProperties().getIndex().equals(name)) continue;
            field = nn.getProperties().getIndex();
            Double d = distance(doc, nn);
            if (d != null && (least == null || d < least)) least = d;
        }
        if (least == null) return closeness ? 0 : Double.MAX_VALUE;
        return closeness ? closeness(field, least) : least;
    }

    private String metric(String field) { return db.derived.getAttributeFields().getAttribute(field).distanceMetric().toString().toLowerCase().replace("_", "").replace("-", ""); }

    private double closeness(String field, double distance) { return metric(field).equals("dotproduct") ? -distance : 1 / (1 + distance); }

    /** The distance between the query's tensor and the document's (the nearest of its vectors, when it has many); null when one is missing. */
    private Double distance(Doc doc, ItemNearestNeighbor nn) {
        String field = nn.getProperties().getIndex();
        Tensor query = program.queryTensor(nn.getQueryTensorName()).orElse(null);
        if (query == null || !(doc.document().getFieldValue(field) instanceof TensorFieldValue value) || value.getTensor().isEmpty()) return null;
        double[] q = queryVectors.computeIfAbsent(nn.getQueryTensorName(), k -> vectors(query).get(0));
        List<double[]> vectors = doc.cached("vectors " + field, () -> vectors(value.getTensor().get()));
        return vectors.stream().map(v -> distance(metric(field), q, v)).min(Double::compare).orElse(null);
    }

    /** The dense vectors of a tensor with one indexed and at most one mapped dimension. */
    static List<double[]> vectors(Tensor tensor) { return List.copyOf(vectorsByLabel(tensor).values()); }

    /** The same by the label of the mapped dimension. */
    static Map<String, double[]> vectorsByLabel(Tensor tensor) {
        int indexed = 0, mapped = -1;
        for (int i = 0; i < tensor.type().dimensions().size(); i++)
            if (tensor.type().dimensions().get(i).isIndexed()) indexed = i; else mapped = i;
        int size = (int) (long) tensor.type().dimensions().get(indexed).size().orElseThrow();
        Map<String, double[]> vectors = new HashMap<>();
        for (var cells = tensor.cellIterator(); cells.hasNext(); ) {
            var cell = cells.next();
            vectors.computeIfAbsent(mapped < 0 ? "" : cell.getKey().label(mapped), k -> new double[size])[(int) cell.getKey().numericLabel(indexed)] = cell.getValue();
        }
        return vectors;
    }

    private static double distance(String metric, double[] q, double[] d) {
        double qd = 0, qq = 0, dd = 0, sq = 0;
        int bits = 0;
        for (int i = 0; i < q.length; i++) {
            qd += q[i] * d[i];
            qq += q[i] * q[i];
            dd += d[i] * d[i];
            sq += (q[i] - d[i]) * (q[i] - d[i]);
            bits += Integer.bitCount(((int) q[i] ^ (int) d[i]) & 0xff);
        }
        return switch (metric) {
            case "prenormalizedangular" -> 1 - qd / (qq > 0 ? qq : 1);
            case "angular" -> Math.acos(Math.max(-1, Math.min(1, qd / Math.sqrt(qq * dd))));
            case "dotproduct" -> -qd;
            case "hamming" -> bits;
            case "euclidean" -> Math.sqrt(sq);
            default -> throw new UnsupportedOperationException("distance metric " + metric);
        };
    }

    boolean matches(Doc doc, String field) {
        return leaves.stream().anyMatch(item -> fields(properties(item).getIndex()).contains(field) && match(item, doc, Mode.FINAL));
    }

    /** bm25 with Vespa's defaults (k1 1.2, b 0.75) over the query's words on this field (null: on any). */
    double bm25(Doc doc, String field) {
        double sum = 0;
        for (QueryTreeItem item : leaves)
            if (field == null || fields(properties(item).getIndex()).contains(field)) sum += bm25(doc, item, field);
        return sum;
    }

    private double bm25(Doc doc, QueryTreeItem item) { return bm25(doc, item, null); }

    private double bm25(Doc doc, QueryTreeItem item, String only) {
        if (item.getItemCase() != QueryTreeItem.ItemCase.ITEM_WORD_TERM) return 0;
        String word = item.getItemWordTerm().getWord().toLowerCase();
        double sum = 0;
        for (String field : fields(properties(item).getIndex())) {
            if (only != null && !only.equals(field)) continue;
            List<String> terms = doc.terms().get(field);
            long frequency = terms == null ? 0 : terms.stream().filter(word::equals).count();
            if (frequency == 0) continue;
            double n = documentFrequency.computeIfAbsent(field + "\0" + word, k -> (double) docs.stream().filter(d -> d.terms().getOrDefault(field, List.of()).contains(word)).count());
            double length = averageLength.computeIfAbsent(field, k -> docs.stream().mapToInt(d -> d.terms().getOrDefault(field, List.of()).size()).average().orElse(1));
            double idf = Math.log(1 + (docs.size() - n + 0.5) / (n + 0.5));
            sum += idf * frequency * 2.2 / (frequency + 1.2 * (1 - 0.75 + 0.75 * terms.size() / length));
        }
        return sum;
    }
}

"""What published stores for these databases get wrong, and the tests that ours does not.

All of it was reproduced with langchain-qdrant 1.1.0, langchain-milvus 0.3.3 and 0.4.0,
llama-index-vector-stores-qdrant 0.10.4 and -milvus 1.2.0, haystack's stores and pyvespa 1.2.9.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LC, LI = "langchain/test_vector_store.py", "llamaindex/test_vector_store.py"
DEFECTS: dict[str, list[str]] = {
    "1. langchain-qdrant: MMR takes lambda_mult the wrong way round (langchain#39052)": [
        f"{LC}::test_lambda_1_is_nearest_and_0_is_most_different_as_in_langchains_own_store",
        f"{LI}::test_diverse_nodes_are_those_of_llamaindexs_own_store",
    ],
    "2. langchain-qdrant: with dot products the same text has relevance 0 (langchain#32045)": [
        f"{LC}::test_relevance_is_1_for_the_same_text_and_lies_between_0_and_1",
    ],
    "3. langchain-qdrant: a hybrid question with nothing in common has relevance 0.75": [
        "langchain/test_options.py::test_scores_without_bounds_are_no_relevance",
    ],
    "4. langchain-qdrant: hybrid searches find fewer than k documents": [
        f"{LC}::test_all_hits_are_had_however_many",
        f"{LI}::test_the_number_of_nodes",
    ],
    "5. all: each text and question is encoded two times, and a dummy text beside": [
        "langchain/test_forwards.py::test_100_documents_are_100_texts",
        "langchain/test_forwards.py::test_one_question_is_one_text",
        "langchain/test_forwards.py::test_diverse_results_take_one_text",
        "langchain/test_forwards.py::test_a_batch_is_one_call_and_one_request",
        "langchain/test_sparse.py::test_langchain_qdrant_takes_one_pass_per_text",
        "langchain/test_sparse.py::test_langchain_milvus_takes_one_pass_per_text",
        "llamaindex/test_forwards.py::test_a_question_is_one_text",
    ],
    "6. langchain-milvus: a text without lexical weights is an error": [
        f"{LC}::test_a_text_without_words_is_stored_and_asked",
    ],
    "7. langchain-milvus: metadata keys that the first batch lacks are dropped, or an error": [
        f"{LC}::test_keys_that_differ_from_document_to_document_are_kept",
    ],
    "8. langchain-qdrant: add_texts of a generator stores nothing": [
        "langchain/test_options.py::test_a_generator_of_texts_is_stored",
        "langchain/test_options.py::test_a_generator_is_stored_asynchronously",
    ],
    "9. LlamaIndex's Qdrant and Milvus: ids OR filters; delete_nodes() deletes everything": [
        f"{LI}::test_ids_and_filters_must_both_hold",
        f"{LI}::test_deleting_nodes_takes_those_that_both_hold_for",
        "llamaindex/test_options.py::test_nothing_is_deleted_without_a_condition",
    ],
    "10. LlamaIndex's Qdrant: unknown modes answer anything; a lone sparse hit keeps its score": [
        "llamaindex/test_options.py::test_any_other_mode_raises",
        f"{LI}::test_diverse_nodes_are_those_of_llamaindexs_own_store",
        "llamaindex/test_options.py"
        "::test_a_hybrid_score_is_the_mean_of_both_though_one_node_only_has_the_words",
    ],
    "11. LlamaIndex's Milvus: NOT is inverted, values inject, null and empty filters widen": [
        "llamaindex/test_filters.py::test_one_filter_means_what_it_means_in_llamaindex",
        "llamaindex/test_filters.py::test_groups_mean_what_they_mean_in_llamaindex",
        "llamaindex/test_filters.py::test_an_empty_group_inside_restricts_nothing",
        "llamaindex/test_filters.py::test_the_store_keeps_what_the_filter_matches",
        "llamaindex/test_filters.py::test_what_cannot_be_meant_is_refused",
        f"{LI}::test_values_are_never_read_as_part_of_a_query",
    ],
    "12. LlamaIndex's Milvus: one forward pass for each node, and the two legs see two texts": [
        "llamaindex/test_forwards.py::test_100_nodes_are_100_texts_in_few_calls",
        "llamaindex/test_forwards.py::test_documents_are_encoded_once_and_only_the_changed_again",
        f"{LI}::test_both_legs_see_the_text_with_its_metadata",
    ],
    "13. pyvespa and LangChain's translator for Milvus: values are not escaped": [
        f"{LC}::test_values_are_never_read_as_part_of_a_query",
        f"{LI}::test_values_are_never_read_as_part_of_a_query",
        "langchain/test_filters.py::test_each_dialect_means_its_filter_and_finds_what_it_matches",
    ],
}


@cache
def _tests_of(path: str) -> set[str]:
    tree = ast.parse((HERE / path).read_text(encoding="utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_has_the_tests_that_are_named_for_it(defect: str) -> None:
    for test in DEFECTS[defect]:
        path, _, name = test.partition("::")
        assert name in _tests_of(path), test

"""What reaches the Bedrock side is what AWS's own model of the service accepts."""

import json
import urllib.parse

import botocore.session
import botocore.validate
import openai
import pytest

from conftest import BEDROCK_MODEL, KEYS, Simulator, standard_config
from test_sdk import HELLO, TOOLS, WEATHER

ANSWER = {"output": {"message": {"role": "assistant", "content": [{"text": "fine"}]}}, "stopReason": "end_turn",
          "usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9, "cacheReadInputTokens": 5}, "metrics": {"latencyMs": 1}}


@pytest.fixture
def bedrock(start, upstream):
    upstream.answer = lambda handler, body: handler.json(ANSWER)
    return start(standard_config(upstream.port))


def validate(request):
    path, headers, body = request
    model_id = urllib.parse.unquote(path.split("/")[2])
    service = botocore.session.get_session().get_service_model("bedrock-runtime")
    parameters = {"modelId": model_id, **json.loads(body)}
    report = botocore.validate.ParamValidator().validate(parameters, service.operation_model("Converse").input_shape)
    assert not report.has_errors(), report.generate_report()
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIA")
    return model_id, parameters


def test_tools_and_history_are_accepted(bedrock, upstream, client):
    call = {"id": "call/1", "type": "function", "function": {"name": "get_weather", "arguments": '{"location":"Paris"}'}}
    client(bedrock).chat.completions.create(
        model="claude-3-5-sonnet", tools=TOOLS, temperature=1.5, max_tokens=100, stop=["END"],
        messages=[{"role": "system", "content": "Be brief."}, *WEATHER, {"role": "assistant", "tool_calls": [call]},
                  {"role": "tool", "tool_call_id": "call/1", "content": "18C"}])
    model_id, parameters = validate(upstream.requests[0])
    assert model_id == BEDROCK_MODEL
    assert parameters["system"] == [{"text": "Be brief."}]
    assert parameters["inferenceConfig"] == {"maxTokens": 100, "temperature": 1, "stopSequences": ["END"]}
    use = parameters["messages"][1]["content"][0]["toolUse"]
    result = parameters["messages"][2]["content"][0]["toolResult"]
    assert use["toolUseId"] == result["toolUseId"] and use["input"] == {"location": "Paris"}


def test_cached_tokens_are_counted_within_the_prompt(bedrock, client):
    raw = client(bedrock).chat.completions.with_raw_response.create(model="claude-3-5-sonnet", messages=HELLO)
    usage = raw.parse().usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (12, 2)
    assert usage.prompt_tokens_details.cached_tokens == 5
    row, = bedrock.rows()
    assert (row["input_tokens"], row["cache_read_tokens"]) == (12, 5)
    assert row["cost_nanousd"] == 7 * 3000 + 5 * 300 + 2 * 15000
    assert raw.headers["x-sluice-stop-reason"] == "end_turn"


def test_dropped_hints_are_named(bedrock, client):
    raw = client(bedrock).chat.completions.with_raw_response.create(
        model="claude-3-5-sonnet", messages=HELLO, seed=7, presence_penalty=1)
    assert {p.strip() for p in raw.headers["x-sluice-dropped-params"].split(",")} == {"seed", "presence_penalty"}


@pytest.mark.parametrize("status,name,raised", [
    (429, "ThrottlingException", openai.RateLimitError), (403, "AccessDeniedException", openai.PermissionDeniedError),
    (400, "ValidationException", openai.BadRequestError), (503, "ServiceUnavailableException", openai.InternalServerError),
    (403, "ExpiredTokenException", openai.InternalServerError)])
def test_exceptions_are_typed(bedrock, upstream, client, status, name, raised):
    upstream.answer = lambda handler, body: handler.json({"message": "why"}, status, [("x-amzn-errortype", name)])
    with pytest.raises(raised):
        client(bedrock).chat.completions.create(model="claude-3-5-sonnet", messages=HELLO)
    row, = bedrock.rows()
    assert row["cost_nanousd"] == 0 and row["usage_source"] == "none"


def test_a_refused_credential_is_replaced_and_tried_once_more(start, client, tmp_path):
    """A profile with a credential process, whose answer changes."""
    keys = tmp_path / "keys.json"
    answer = {"Version": 1, "AccessKeyId": KEYS[0], "SecretAccessKey": KEYS[1]}
    keys.write_text(json.dumps({**answer, "SecretAccessKey": "outdated"}))
    (tmp_path / "aws").write_text(f"[profile p]\nregion = eu-central-1\ncredential_process = cat {keys}\n")
    simulator = Simulator()
    try:
        config = standard_config(simulator.port)
        begin = config.index("    credentials:")
        config = config[:begin] + "    credentials: {profile: p}\n" + config[config.index("\n", begin) + 1:]
        gateway = start(config, environment={"AWS_CONFIG_FILE": str(tmp_path / "aws"), "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"})
        keys.write_text(json.dumps(answer))
        raw = client(gateway).chat.completions.with_raw_response.create(model="claude-3-5-sonnet", messages=HELLO)
        assert raw.headers["x-sluice-attempts"] == "2"
        raw = client(gateway).chat.completions.with_raw_response.create(model="claude-3-5-sonnet", messages=HELLO)
        assert raw.headers["x-sluice-attempts"] == "1"
    finally:
        simulator.stop()


def test_a_malformed_answer_is_billed_as_it_was_counted(bedrock, upstream, client):
    message = {"role": "assistant", "content": []}
    upstream.answer = lambda handler, body: handler.json(
        {**ANSWER, "output": {"message": message}, "stopReason": "malformed_model_output"})
    with pytest.raises(openai.InternalServerError) as failure:
        client(bedrock).chat.completions.create(model="claude-3-5-sonnet", messages=HELLO)
    assert failure.value.code == "malformed_model_output"
    row, = bedrock.rows()
    assert (row["status"], row["usage_source"]) == (502, "upstream")
    assert (row["input_tokens"], row["output_tokens"], row["cache_read_tokens"]) == (12, 2, 5)

"""The main job with the real SDK: chat, streams, tools, embeddings, models, errors, money."""

import datetime
import enum
import json

import openai
import pydantic
import pytest

from conftest import standard_config

HELLO = [{"role": "user", "content": "Hello, world"}]
WEATHER = [{"role": "user", "content": "What is the weather in New York City?"}]
TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "The weather at a place.",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}}}]
CHAT_MODELS = pytest.mark.parametrize("model", ["claude-3-5-sonnet", "llama-3"])


@CHAT_MODELS
def test_chat(gateway, client, model):
    raw = client(gateway).chat.completions.with_raw_response.create(model=model, messages=HELLO)
    answer = raw.parse()
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer._request_id == raw.headers["x-request-id"]
    assert raw.headers["x-sluice-attempts"] == "1"
    row, = gateway.rows()
    assert (row["input_tokens"], row["output_tokens"]) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert row["usage_source"] == "upstream"
    prices = {"claude-3-5-sonnet": (3000, 15000), "llama-3": (1000, 2000)}[model]
    cost = row["input_tokens"] * prices[0] + row["output_tokens"] * prices[1]
    assert row["cost_nanousd"] == cost
    assert round(float(raw.headers["x-sluice-cost-usd"]) * 1e9) == cost


@CHAT_MODELS
@pytest.mark.parametrize("wants_usage", [True, False])
def test_stream(gateway, client, model, wants_usage):
    options = {"stream_options": {"include_usage": True}} if wants_usage else {}
    chunks = list(client(gateway).chat.completions.create(model=model, messages=HELLO, stream=True, **options))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    usages = [c.usage for c in chunks if c.usage]
    assert len(usages) == (1 if wants_usage else 0)
    row, = gateway.rows()
    assert row["streamed"] == 1 and row["output_tokens"] > 0
    if wants_usage:
        assert row["input_tokens"] == usages[0].prompt_tokens


@CHAT_MODELS
@pytest.mark.parametrize("stream", [True, False])
def test_weather_conversation_of_two_turns(gateway, client, model, stream):
    chat = client(gateway).chat.completions
    if stream:
        with chat.stream(model=model, messages=WEATHER, tools=TOOLS) as events:
            for _ in events:
                pass
            message = events.get_final_completion().choices[0].message
    else:
        message = chat.create(model=model, messages=WEATHER, tools=TOOLS).choices[0].message
    call, = message.tool_calls
    assert call.function.name == "get_weather"
    assert call.function.arguments == '{"location":"New York City"}'
    history = WEATHER + [
        {"role": "assistant", "tool_calls": [call.model_dump(exclude={"index", "parsed_arguments"})]},
        {"role": "tool", "tool_call_id": call.id, "content": "21 degrees and sunny"}]
    answer = chat.create(model=model, messages=history, tools=TOOLS).choices[0]
    assert "21 degrees and sunny" in answer.message.content
    assert answer.finish_reason == "stop"


@CHAT_MODELS
def test_structured_output(gateway, client, model):
    schema = {"name": "place", "schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
    answer = client(gateway).chat.completions.create(
        model=model, messages=HELLO, response_format={"type": "json_schema", "json_schema": schema})
    assert answer.choices[0].message.content == '{"city":"New York City"}'
    assert answer.choices[0].finish_reason == "stop"


@CHAT_MODELS
def test_json_mode(gateway, client, model):
    answer = client(gateway).chat.completions.create(model=model, messages=HELLO, response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content) == {}


class Unit(enum.Enum):
    CELSIUS = "celsius"


class Stop(pydantic.BaseModel):
    city: str
    arrival: datetime.datetime
    nights: int = pydantic.Field(ge=2)
    next: "Stop | None"


class Journey(pydantic.BaseModel):
    """What `.parse()` makes of Python's types: references, alternatives and bounds."""

    stops: list[Stop] = pydantic.Field(min_length=2)
    unit: Unit
    title: str | None
    share: float = pydantic.Field(lt=1)


@pytest.mark.parametrize("model", ["claude-3-5-sonnet", "claude-4-5", "llama-3"])
def test_pydantic_models_are_parsed(start, simulator, client, model):
    route = '  - {model: claude-4-5, targets: [{backend: claude, model: "anthropic.claude-sonnet-4-5-20250929-v1:0"}]}\n'
    chat = client(start(standard_config(simulator.port, route))).chat.completions
    journey = chat.parse(model=model, messages=HELLO, response_format=Journey).choices[0].message.parsed
    assert journey.stops[1].city == "New York City"
    tool = openai.pydantic_function_tool(Journey)
    with chat.stream(model=model, messages=HELLO, tools=[tool]) as stream:
        call, = stream.get_final_completion().choices[0].message.tool_calls
    assert call.function.parsed_arguments == journey


def test_completions_and_their_stream(gateway, client):
    completions = client(gateway).completions
    assert completions.create(model="llama-3", prompt="Once", max_tokens=3).choices[0].finish_reason == "length"
    chunks = list(completions.create(model="llama-3", prompt="Once", stream=True))
    assert "".join(c.choices[0].text for c in chunks)


@pytest.mark.parametrize("model,count", [("titan", 9), ("llama-embed", 3)])
def test_embeddings_keep_their_order(gateway, client, model, count):
    texts = [f"text {i}" for i in range(count)]
    many = client(gateway).embeddings.create(model=model, input=texts)
    assert [e.index for e in many.data] == list(range(count))
    for text, embedding in zip(texts, many.data):
        if model == "titan":
            alone = client(gateway).embeddings.create(model=model, input=text, encoding_format="float")
            assert alone.data[0].embedding == pytest.approx(embedding.embedding)


def test_models(start, simulator, client):
    tenants = ('  - {name: demo, keys: [{value: sk-demo}], models: ["*"]}\n'
               '  - {name: small, keys: [{value: sk-small}], models: ["claude-*"]}\n'
               '  - {name: exact, keys: [{value: sk-exact}], models: [titan, llama-7, llama-7, "llama-8*"]}\n')
    gateway = start(standard_config(simulator.port, tenants=tenants))
    assert [m.id for m in client(gateway).models.list()] == ["claude-3-5-sonnet", "titan"]
    assert [m.id for m in client(gateway, key="sk-small").models.list()] == ["claude-3-5-sonnet"]
    assert [m.id for m in client(gateway, key="sk-exact").models.list()] == ["titan", "llama-7"]
    assert client(gateway).models.retrieve("llama-7").id == "llama-7"
    with pytest.raises(openai.NotFoundError):
        client(gateway, key="sk-small").models.retrieve("titan")
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client(gateway, key="sk-small").chat.completions.create(model="llama-3", messages=HELLO)
    assert refused.value.code == "model_not_allowed"


def test_errors_are_typed(gateway, client):
    chat = client(gateway).chat.completions
    with pytest.raises(openai.AuthenticationError) as error:
        client(gateway, key="sk-wrong").chat.completions.create(model="llama-3", messages=HELLO)
    assert error.value.code == "invalid_api_key" and error.value.request_id
    with pytest.raises(openai.NotFoundError) as error:
        chat.create(model="ghost", messages=HELLO)
    assert error.value.code == "model_not_found" and error.value.param == "model"
    with pytest.raises(openai.BadRequestError) as error:
        chat.create(model="claude-3-5-sonnet", messages=HELLO, n=2)
    assert error.value.code == "unsupported_parameter" and error.value.param == "n"
    with pytest.raises(openai.BadRequestError) as error:
        chat.create(model="claude-3-5-sonnet", messages=[])
    assert error.value.param == "messages"


def test_limits_are_announced_and_enforced(start, simulator, client):
    tenants = ('  - name: demo\n    keys: [{value: sk-demo}]\n    models: ["*"]\n'
               "    limits: [{requests: 2, per: minute}, {tokens: 100k, per: hour}, {usd: 1, per: month}]\n")
    gateway = start(standard_config(simulator.port, tenants=tenants))
    chat = client(gateway).chat.completions
    first = chat.with_raw_response.create(model="llama-3", messages=HELLO)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    used = first.parse().usage.total_tokens
    assert int(first.headers["x-ratelimit-remaining-tokens"]) == 100_000 - used
    chat.create(model="llama-3", messages=HELLO)
    with pytest.raises(openai.RateLimitError) as error:
        chat.create(model="llama-3", messages=HELLO)
    assert error.value.code == "rate_limit_exceeded" and error.value.type == "requests"
    assert 25 <= int(error.value.response.headers["retry-after"]) <= 30
    assert len(gateway.rows()) == 2
    assert gateway.metric("sluice_limit_rejections_total", tenant="demo") == 1


def test_figures_agree_everywhere(gateway, client):
    chat = client(gateway).chat.completions
    seen_input = seen_output = 0
    for model in ["claude-3-5-sonnet", "llama-3"] * 3:
        usage = chat.create(model=model, messages=HELLO).usage
        seen_input += usage.prompt_tokens
        seen_output += usage.completion_tokens
    rows = gateway.rows()
    assert sum(r["input_tokens"] for r in rows) == seen_input == gateway.metric("sluice_tokens_total", kind="input")
    assert sum(r["output_tokens"] for r in rows) == seen_output == gateway.metric("sluice_tokens_total", kind="output")
    cost = sum(r["cost_nanousd"] for r in rows)
    assert round(gateway.metric("sluice_cost_usd_total") * 1e9) == cost
    import json
    groups = json.loads(gateway.admin("/admin/usage?by=tenant&since=1h"))["groups"]
    assert groups == [{"tenant": "demo", "requests": 6, "input_tokens": seen_input, "output_tokens": seen_output,
                       "cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0, "cost_nanousd": cost}]

{#- The codes of a row, in the order in which they are given. The rules that give them stand in classified_events. -#}
{% macro validation_codes() -%}
    {{ return([
        "malformed_json",
        "missing_user_id",
        "empty_user_id",
        "missing_episode_id",
        "empty_episode_id",
        "missing_timestamp",
        "invalid_timestamp",
        "timestamp_too_early",
        "timestamp_in_future",
        "missing_event_type",
        "invalid_event_type",
        "invalid_duration",
        "duration_out_of_range",
        "unexpected_duration",
    ]) }}
{%- endmacro %}

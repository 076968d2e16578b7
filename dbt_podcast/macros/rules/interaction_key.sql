{#-
    The key of an event as one text: user, episode, event type and instant.

    The lengths of the ids stand before them and the event type is one of four words, so that two keys
    have the same text only if they are the same key.
-#}
{% macro interaction_key(user_id, episode_id, event_type, event_at) -%}
    cast(length({{ user_id }}) as varchar) || ':' || {{ user_id }} || ':'
    || cast(length({{ episode_id }}) as varchar) || ':' || {{ episode_id }} || ':'
    || {{ event_type }} || ':' || cast({{ epoch_microseconds(event_at) }} as varchar)
{%- endmacro %}

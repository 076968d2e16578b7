{#-
    The key of an event as one text: user, episode, event type and instant.

    The lengths of the ids stand before them and the event type is one of four words, so that two keys
    have the same text only if they are the same key. None of the four is null.
-#}
{% macro interaction_key(user_id, episode_id, event_type, event_at) -%}
    concat(
        length({{ user_id }}), ':', {{ user_id }}, ':',
        length({{ episode_id }}), ':', {{ episode_id }}, ':',
        {{ event_type }}, ':', {{ epoch_microseconds(event_at) }}
    )
{%- endmacro %}

-- grain: one batch of this run, and one key of an event that it has or had: (batch, user, episode, event type, time);
-- none where there is neither silver nor gold yet: both are made of all rows then, and nothing is replaced
{{ config(
    materialized="table",
    tags=["silver"],
    post_hook="{{ note_unpublished_rows('keys', ['key_hash', 'event_at']) }}",
) }}
-- depends_on: {{ ref("pending_batches") }}

{# What silver holds of the batches from earlier runs: the rules that gave these keys may have changed since. #}
{% set events = api.Relation.create(database=target.get("database"), schema="silver", identifier="cleansed_events") %}
{% set held = none if flags.FULL_REFRESH else load_relation(events) %}

{# What an earlier build found for the same batches: silver has been changed by it, and gold is still to follow. #}
{% set earlier = none if flags.FULL_REFRESH else load_relation(this) %}

{% set replaces = has_tables_replaced_by("replace_touched_keys") or not is_everything_touched() %}

with

pending_rows as (

    select * from {{ ref("pending_rows") }}

)

select distinct
    batch_id,
    key_hash,
    {{ trim_unicode("user_id") }} as user_id,
    {{ trim_unicode("episode_id") }} as episode_id,
    event_at
from pending_rows
where {{ "is_valid" if replaces else "false" }}

{% if held %}
union

select
    cleansed_events.batch_id,
    cleansed_events.key_hash,
    cleansed_events.user_id,
    cleansed_events.episode_id,
    cleansed_events.timestamp as event_at
from {{ held }} as cleansed_events
inner join {{ ref("pending_batches") }} as pending_batches
    on cleansed_events.batch_id = pending_batches.batch_id
    and cleansed_events.load_at = pending_batches.load_at
{% endif %}

{% if earlier %}
union

select
    earlier.batch_id,
    earlier.key_hash,
    earlier.user_id,
    earlier.episode_id,
    earlier.event_at
from {{ earlier }} as earlier
inner join {{ ref("pending_batches") }} as pending_batches
    on earlier.batch_id = pending_batches.batch_id
{% endif %}

{{ config(materialized="view") }}

select
    lower(trim(event_type)) as event_type,
    trim(user_id) as user_id,
    trim(episode_id) as episode_id,
    try_cast("timestamp" as timestamptz) as event_at,
    try_cast(duration as integer) as duration,
    filename
from {{ source("landing", "events") }}

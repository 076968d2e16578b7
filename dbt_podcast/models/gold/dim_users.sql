-- grain: one user of the reference data or of the facts
{{ config(
    materialized="incremental",
    incremental_strategy="replace_touched_listening",
    unique_key=["user_id"],
    on_schema_change="append_new_columns",
) }}
-- depends_on: {{ ref("touched_listening") }}

with

users as (

    select users.*
    from {{ ref("silver_users") }} as users
    {% if is_incremental() %}
    {{ of_touched_listening("users", ["user_id"]) }}
    {% endif %}

),

{% if is_incremental() %}
unknown as (

    select distinct touched.user_id
    from {{ ref("touched_listening") }} as touched
    left join users
        on touched.user_id = users.user_id
    where users.user_id is null

),

{% endif %}
facts as (

    select facts.user_id
    from {{ ref("fact_user_interactions") }} as facts
    {% if is_incremental() %}
    inner join unknown
        on facts.user_id = unknown.user_id
    {% endif %}

),

inferred as (

    select distinct facts.user_id
    from facts
    left join users
        on facts.user_id = users.user_id
    where users.user_id is null

)

select
    user_id,
    country,
    false as is_inferred,
    signup_date
from users

union all

select
    user_id,
    cast(null as {{ text_type() }}) as country,
    true as is_inferred,
    cast(null as date) as signup_date
from inferred

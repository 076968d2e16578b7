-- grain: one user of the reference data or of the facts
with

users as (

    select * from {{ ref("silver_users") }}

),

facts as (

    select * from {{ ref("fact_user_interactions") }}

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
    cast(null as varchar) as country,
    true as is_inferred,
    cast(null as date) as signup_date
from inferred

-- grain: one user of the reference data
{{ config(alias="users") }}
-- depends_on: {{ ref("reference_changes") }}

with

users as (

    select * from {{ reference_rows("users") }}

)

select
    cast(user_id as varchar) as user_id,
    cast(signup_date as date) as signup_date,
    cast(country as varchar) as country
from users

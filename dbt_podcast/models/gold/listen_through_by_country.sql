-- grain: one country
with

country_listen_through as (

    select * from {{ ref("country_listen_through") }}

)

select
    country,
    avg_listen_through_rate,
    completion_count
from country_listen_through
where completion_count > 0
    and not is_unknown
